"""The Bernstein polynomial transformer."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from flowjax_lite.numerics.scalar import log_scale
from flowjax_lite.transformers.base import AbstractNumericalForward, check_bound, with_linear_tails

_MAX_LOG_SLOPE = 7.0  # slopes within a factor of about 1000 of one
_MAX_DEGREE = 100  # the binomials of larger ones overflow in float32


@dataclass(frozen=True)
class Bernstein(AbstractNumericalForward):
    """The inverse of a Bernstein polynomial x = p(y) on [-bound, bound], tangents outside.

    Bernstein-polynomial flows: Ramasinghe, Fernando, Khan and Barnes, 2021, arXiv:2102.03509,
    written on the side of densities. The slope is a Bernstein polynomial too, a
    weighted mean of positive coefficients, so the map increases and its log-determinant is free
    of cancellation. Roots are found in the tails as well, which are straight lines.

    Parameters per scalar: `degree` logarithms of the slope's coefficients, softly bounded, and
    the shift. The map's coefficients are the running sums of the slope's.

    Attributes:
        degree: of the polynomial, 2 to 100; details are as wide as bound / √degree.
        bound: half-width of the interval.
    """

    degree: int = 16
    bound: float = 3.0

    def __post_init__(self) -> None:
        if not 2 <= self.degree <= _MAX_DEGREE:
            raise ValueError(
                f"degree is {self.degree}; expected a whole number from 2 to {_MAX_DEGREE}"
            )
        check_bound(self.bound)

    @property
    def num_params(self) -> int:
        return self.degree + 1

    def inverse_and_log_det(self, params: Array, y: Array) -> tuple[Array, Array]:
        slopes, shift = jnp.exp(log_scale(params[:-1], _MAX_LOG_SLOPE)), params[-1]
        # The map's coefficients less those of the identity, which are equally spaced.
        sums = jnp.cumsum(slopes - 1, axis=0) * (2 * self.bound / self.degree)
        left = jnp.concatenate([jnp.zeros_like(sums[:1]), sums[:-1]])
        centre = shift - 0.5 * sums[-1]

        def polynomial(y: Array) -> tuple[Array, Array]:
            u, rest = (0.5 + sign * (0.5 / self.bound) * y for sign in (1, -1))
            basis = _bernstein_basis(u, rest, self.degree - 1)
            # One step of de Casteljau's rule lowers the degree to that of the slope.
            lowered = left * rest[None] + sums * u[None]
            moved = jnp.sum(lowered * basis, axis=0)
            return y + centre + moved, jnp.sum(slopes * basis, axis=0)

        return with_linear_tails(polynomial, y, self.bound)


def _bernstein_basis(u: Array, rest: Array, degree: int) -> Array:
    """The Bernstein polynomials of u and rest = 1 - u, positive, (degree + 1, *u.shape)."""
    return jnp.stack(
        [float(math.comb(degree, k)) * u**k * rest ** (degree - k) for k in range(degree + 1)]
    )
