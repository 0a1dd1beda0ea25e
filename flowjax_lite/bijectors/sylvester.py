"""Sylvester layers: planar layers of a higher rank."""

from typing import Any, Literal, Self, get_args

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.bijectors.given import before_soft_clip, given_array, orthonormal, reflections_of
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.conditioners.amortized import AmortizedParams
from flowjax_lite.core.checks import check_choice, check_positive_int, default_dtype
from flowjax_lite.numerics.random import normal
from flowjax_lite.numerics.reflections import reflect
from flowjax_lite.numerics.residual import (
    before_slope_factor,
    slope_factor,
    solve_triangular_residual_tanh,
    tanh_and_slope,
)
from flowjax_lite.numerics.scalar import soft_clip

SylvesterForm = Literal["orthogonal", "householder", "triangular"]
SYLVESTER_FORMS: tuple[str, ...] = get_args(SylvesterForm)
_MAX_WEIGHT, _MAX_SHIFT = 10.0, 100.0


class Sylvester(AbstractBijector):
    """Bend space along several directions at once: f(x) = x + Q R tanh(R̃ Qᵀ x + b).

    R and R̃ are upper triangular, (rank, rank), and the columns of Q, (dim, rank), orthonormal:

    - `"orthogonal"`: Q is learned, of any rank.
    - `"householder"`: Q is a product of few reflections; the rank is dim.
    - `"triangular"`: Q is the identity; put a change of order between such layers.

    Forward is a closed form. The inverse takes the root of a scalar function for each of the
    rank's coordinates, one after the other. The log-determinant is a sum in both.

    Van den Berg, Hasenclever, Tomczak and Welling, 2018, arXiv:1803.05649, equations 9 to 16.
    Where the paper makes the orthogonal form by iteration, here Q is the first columns of a
    product of as many reflections: these reach the same maps, with orthonormal columns whatever
    the parameters.
    """

    def __init__(
        self,
        dim: int,
        *,
        form: str = "orthogonal",
        rank: int | None = None,
        num_reflections: int = 8,
        condition_dim: int | None = None,
        hidden: tuple[int, ...] = (64, 64),
        activation: str | Activation = "relu",
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Draw Q; the layer starts as the identity, with R = 0 and R̃ = I.

        Args:
            dim: number of entries.
            form: of Q, one of the three above.
            rank: number of directions, up to dim; None for dim.
            num_reflections: of the Householder form; without effect in the others.
            condition_dim: length of the condition; None for none, and then the settings below
                must be left out.
            hidden: widths of the network from the condition to the parameters.
            activation: name or function.
            compute_dtype: of the network's products; see `conditioners.check_compute_dtype`.
            rngs: source of Q and of the network's weights.

        Raises:
            ValueError: form is none of the three, or the rank is above dim, or below it in a form
                that has rank dim.
        """
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.rank = _check_rank(rank, dim, check_choice(form, SYLVESTER_FORMS, "form"))
        check_positive_int(num_reflections, "num_reflections")
        self.num_reflections = {
            "orthogonal": self.rank,
            "householder": num_reflections,
            "triangular": 0,
        }[form]
        vectors = normal(rngs.params(), (self.num_reflections, dim))
        factors = jnp.zeros((self.rank + 2, self.rank)).at[-2].set(1.0)
        self.params = AmortizedParams(
            jnp.concatenate([vectors.ravel(), factors.ravel()]),
            condition_dim=condition_dim,
            hidden=hidden,
            activation=activation,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        self.condition_shape = self.params.condition_shape

    @classmethod
    def from_arrays(cls, r: Any, r_tilde: Any, b: Any, q: Any = None) -> Self:
        """f(x) = x + Q R tanh(R̃ Qᵀ x + b) at the start, with these numbers.

        Args:
            r: R, (rank, rank), upper triangular.
            r_tilde: R̃, (rank, rank), upper triangular; each product of a diagonal entry with that
                of R is above -0.99.
            b: (rank,).
            q: Q, (dim, rank), of orthonormal columns; None is the identity, the triangular form.

        Raises:
            ValueError: a matrix is not triangular or Q's columns are not orthonormal, the map has
                no inverse, or a number is out of bounds.
        """
        b = given_array(b, "b")
        square = (b.size, b.size)
        outer, inner = (given_array(m, n, square) for m, n in ((r, "r"), (r_tilde, "r_tilde")))
        for name, matrix in (("r", outer), ("r_tilde", inner)):
            if np.any(np.tril(matrix, -1)):
                raise ValueError(f"{name} has entries below its diagonal; expected zeros there")
        products = np.diag(outer) * np.diag(inner)
        raw_products = np.asarray(before_slope_factor(jnp.asarray(products)), np.float64)
        if np.any(np.isnan(raw_products)):
            i = int(np.flatnonzero(np.isnan(raw_products))[0])
            raise ValueError(
                f"r[{i}, {i}] · r_tilde[{i}, {i}] is {products[i]:.4g}; expected a number between "
                f"-0.99 and 100, as the slope 1 + r r_tilde tanh′ must stay positive: shrink one"
            )
        factors = np.divide(raw_products, products, out=np.ones(b.size), where=products != 0)
        weights = np.triu(outer, 1) + np.diag(np.diag(outer) * factors) + np.triu(inner, 1).T
        if q is None:
            vectors = np.zeros((0, b.size))
            layer = cls(b.size, form="triangular", rngs=nnx.Rngs(0))
        else:
            q = given_array(q, "q")
            if q.ndim != 2 or q.shape[1] != b.size:
                raise ValueError(
                    f"q has shape {q.shape}; expected (dim, {b.size}), a column for each entry of b"
                )
            vectors = reflections_of(orthonormal(q, "q"))
            layer = cls(vectors.shape[1], rank=b.size, rngs=nnx.Rngs(0))
        raw = [
            vectors.ravel(),
            before_soft_clip(weights, _MAX_WEIGHT, "r, or the transpose of r_tilde,").ravel(),
            before_soft_clip(np.diag(inner), _MAX_WEIGHT, "the diagonal of r_tilde"),
            before_soft_clip(b, _MAX_SHIFT, "b"),
        ]
        layer.params.value[...] = jnp.asarray(np.concatenate(raw), default_dtype())
        return layer

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        vectors, outer, inner, shift = self._params(condition)
        h, slope = tanh_and_slope(_dot(inner, self._project(vectors, x)) + shift)
        log_det = jnp.sum(jnp.log1p(jnp.diag(outer) * jnp.diag(inner) * slope))
        return x + self._embed(vectors, _dot(outer, h)), log_det

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        vectors, outer, inner, shift = self._params(condition)
        # a = R̃ Qᵀ x + b alone is bent: a + R̃ R tanh(a) is that of y.
        target = _dot(inner, self._project(vectors, y)) + shift
        a = solve_triangular_residual_tanh(_dot(inner, outer), target)
        h, slope = tanh_and_slope(a)
        log_det = -jnp.sum(jnp.log1p(jnp.diag(outer) * jnp.diag(inner) * slope))
        return y - self._embed(vectors, _dot(outer, h)), log_det

    def _params(self, condition: Array | None) -> tuple[Array, Array, Array, Array]:
        """The vectors of Q's reflections, R, R̃ and b; the diagonal of R R̃ is above -1."""
        params = self.params(condition)
        vectors, factors = jnp.split(params, [self.num_reflections * self.event_shape[0]])
        factors = factors.reshape(-1, self.rank)
        shift = soft_clip(factors[-1], _MAX_SHIFT)
        # Strictly above the diagonal lies R, below it the transpose of R̃, on it R's diagonal.
        weights = soft_clip(factors[:-1], _MAX_WEIGHT)
        square, inner_diagonal = weights[:-1], weights[-1]
        outer_diagonal = jnp.diag(square)
        outer_diagonal *= slope_factor(outer_diagonal * inner_diagonal)
        outer = jnp.triu(square, 1) + jnp.diag(outer_diagonal)
        inner = jnp.tril(square, -1).T + jnp.diag(inner_diagonal)
        return vectors.reshape(-1, self.event_shape[0]), outer, inner, shift

    def _project(self, vectors: Array, x: Array) -> Array:
        """Qᵀ x, (rank,)."""
        return reflect(vectors, x, transpose=True)[: self.rank]

    def _embed(self, vectors: Array, v: Array) -> Array:
        """Q v, (dim,)."""
        return reflect(vectors, jnp.pad(v, (0, self.event_shape[0] - self.rank)))


def _check_rank(rank: int | None, dim: int, form: str) -> int:
    rank = check_positive_int(dim if rank is None else rank, "rank")
    if rank > dim:
        raise ValueError(f"rank is {rank}; expected at most dim, which is {dim}")
    if rank < dim and form != "orthogonal":
        raise ValueError(
            f"rank is {rank}; the {form} form has rank dim, which is {dim}: leave rank out, or "
            f"choose form='orthogonal'"
        )
    return rank


def _dot(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
