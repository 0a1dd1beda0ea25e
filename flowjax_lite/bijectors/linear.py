"""Learned linear maps of the whole event."""

import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.scipy.linalg import solve_triangular

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.numerics.recipe import remembers_recipe
from flowjax_lite.numerics.scalar import log_scale
from flowjax_lite.numerics.shapes import check_positive_int

_MAX_LOG_SCALE = 5.0


class LU(AbstractBijector):
    """An invertible dense map by its triangular factors: the inverse is x = L (U y) + shift.

    Written on the inverse side, so a density costs two matrix products and sampling two
    triangular solves. L has a unit diagonal, U a bounded positive one; the map starts as the
    identity. Put a permutation beside it where the order of the entries should change.

    Glow: Kingma and Dhariwal, 2018, arXiv:1807.03039, section 3.2.
    """

    @remembers_recipe
    def __init__(self, dim: int) -> None:
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = None
        # Strictly below the diagonal lies L, above it U, on it the raw log-diagonal of U.
        self.factors = nnx.Param(jnp.zeros((dim, dim)))
        self.shift = nnx.Param(jnp.zeros(dim))

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        lower, upper, log_diagonal = self._factors()
        middle = solve_triangular(lower, x - self.shift[...], lower=True, unit_diagonal=True)
        return solve_triangular(upper, middle, lower=False), -jnp.sum(log_diagonal)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        lower, upper, log_diagonal = self._factors()
        matrix = jnp.matmul(lower, upper, precision=lax.Precision.HIGHEST)
        x = jnp.matmul(matrix, y, precision=lax.Precision.HIGHEST) + self.shift[...]
        return x, jnp.sum(log_diagonal)

    def _factors(self) -> tuple[Array, Array, Array]:
        factors = self.factors[...]
        log_diagonal = log_scale(jnp.diag(factors), _MAX_LOG_SCALE)
        lower = jnp.tril(factors, -1) + jnp.eye(len(factors), dtype=factors.dtype)
        upper = jnp.triu(factors, 1) + jnp.diag(jnp.exp(log_diagonal))
        return lower, upper, log_diagonal
