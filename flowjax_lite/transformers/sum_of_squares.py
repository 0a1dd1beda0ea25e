"""The sum-of-squares polynomial transformer of SOS flows."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.numerics.scalar import soft_clip
from flowjax_lite.transformers.base import AbstractNumericalForward, check_bound, with_linear_tails

_MIN_SLOPE = 1e-3
_MAX_COEFFICIENT = 100.0  # of a power of y / half_width; the slope stays far from overflow


@dataclass(frozen=True)
class SumOfSquares(AbstractNumericalForward):
    """The inverse of x = shift + ∫₀ʸ Σ pₖ(t)² dt, polynomials on [-w, w], tangents outside.

    SOS flows: Jaini, Selby and Yu, 2019, arXiv:1905.02325, written on the side of
    densities. The integral is a Gauss-Legendre sum, which is exact for a polynomial and has
    positive terms alone, so nothing cancels. The slope is at least 0.001.

    Outside the interval the map goes on in straight lines with the slopes at its ends: no power
    of a large value overflows, and the root that the forward direction looks for is found
    wherever it lies.

    Parameters per scalar: the `degree + 1` coefficients of one polynomial after the other, and
    the shift. Polynomials with equal parameters still learn differently.

    Attributes:
        num_polynomials: number of squares; two can add up to every positive polynomial.
        degree: of each polynomial; that of the slope is twice as large.
        half_width: w, within which most data should lie. Beyond the data a polynomial grows by its
            highest power, so that a wide interval would make rare rows improbable beyond measure.
    """

    num_polynomials: int = 3
    degree: int = 4
    half_width: float = 3.0

    def __post_init__(self) -> None:
        check_positive_int(self.num_polynomials, "num_polynomials")
        check_positive_int(self.degree, "degree")
        check_bound(self.half_width, "half_width")

    @property
    def num_params(self) -> int:
        return self.num_polynomials * (self.degree + 1) + 1

    def inverse_and_log_det(self, params: Array, y: Array) -> tuple[Array, Array]:
        coefficients, shift = self._coefficients(params[:-1]), params[-1]
        nodes, weights = np.polynomial.legendre.leggauss(self.degree + 1)
        fractions = [*(0.5 + 0.5 * nodes), 1.0]

        def integral(y: Array) -> tuple[Array, Array]:
            s = jnp.multiply.outer(jnp.asarray(fractions, y.dtype), y / self.half_width)
            *inner, slope = _slope(coefficients, s)
            mean = sum(0.5 * w * f for w, f in zip(weights.tolist(), inner, strict=True))
            return shift + y * mean, slope

        return with_linear_tails(integral, y, self.half_width)

    def _coefficients(self, raw: Array) -> Array:
        """Coefficients of powers of y / w, (degree + 1, num_polynomials, ...)."""
        shape = self.num_polynomials, self.degree + 1
        k, power = np.indices(shape)
        # Under equal gains the gradients would be equal too, and all polynomials one for ever.
        speed = (1 + (k + power) % self.num_polynomials) * 2 / (self.num_polynomials + 1)
        gains = jnp.asarray(speed, raw.dtype).reshape(-1, *[1] * (raw.ndim - 1))
        bounded = soft_clip(gains * raw, _MAX_COEFFICIENT)
        return jnp.swapaxes(bounded.reshape(*shape, *raw.shape[1:]), 0, 1)


def _slope(coefficients: Array, s: Array) -> Array:
    """The mean of (1 + polynomial)² over polynomials, raised a little, by Horner's rule.

    Args:
        coefficients: (degree + 1, polynomials, ...).
        s: (points, ...).

    Returns:
        (points, ...), positive; one where all coefficients are zero.
    """
    value = jnp.zeros_like(s)[None]
    for coefficient in coefficients[::-1]:
        value = value * s[None] + coefficient[:, None]
    return _MIN_SLOPE + (1 - _MIN_SLOPE) * jnp.mean((1 + value) ** 2, axis=0)
