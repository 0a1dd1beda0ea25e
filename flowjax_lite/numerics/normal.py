"""The normal distribution function in logarithms, accurate to rounding however far out."""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import erfc

# 1 - t + 3t² - 15t³ … is the asymptotic series of a Mills ratio, with 1 / t the square; what is
# left out is below rounding where the series is used.
_MILLS_SERIES = (1.0, -1.0, 3.0, -15.0, 105.0, -945.0, 10395.0, -135135.0)


@jax.custom_jvp
def log_ndtr_and_slope(x: Array) -> tuple[Array, Array]:
    """log Φ(x), of the standard normal distribution function, and its derivative φ(x) / Φ(x).

    Args:
        x: values of any shape; x² must not overflow.

    Returns:
        The logarithm and the derivative, about -x²/2 and -x far below zero, both of x's shape.
    """
    lower = x < 0
    tail = _scaled_tail(jnp.abs(x))
    density = jnp.exp(-0.5 * x * x)
    upper_tail = tail * density
    # In float64 XLA's log1p loses two digits just above -0.42, and none above zero.
    above = -jnp.log1p(upper_tail / (1.0 - upper_tail))
    slope = jnp.where(lower, 1.0 / tail, density / (1.0 - upper_tail)) / math.sqrt(2 * math.pi)
    return jnp.where(lower, jnp.log(tail) - 0.5 * x * x, above), slope


@log_ndtr_and_slope.defjvp
def _log_ndtr_and_slope_jvp(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (x,), (tangent,) = primals, tangents
    value, slope = log_ndtr_and_slope(x)
    return (value, slope), (slope * tangent, -slope * _slope_excess(x, slope) * tangent)


def _slope_excess(x: Array, slope: Array) -> Array:
    """x + slope, which is about -1 / x far below zero, where the sum would cancel."""
    far = _is_far(-x)
    inverse_square = _inverse_square(x, far)
    series = _MILLS_SERIES
    ratio = _polynomial(series[1:], inverse_square) / _polynomial(series, inverse_square)
    return jnp.where(far, ratio / jnp.where(far, x, 1.0), x + slope)


def _scaled_tail(x: Array) -> Array:
    """Φ(-x) exp(x² / 2) of x >= 0, whose factors would under- and overflow."""
    far = _is_far(x)
    near = jnp.where(far, 0.0, x) * math.sqrt(0.5)
    series = _polynomial(_MILLS_SERIES, _inverse_square(x, far))
    scale = math.sqrt(0.5 / math.pi) / jnp.where(far, x, 1.0)
    return jnp.where(far, scale * series, 0.5 * jnp.exp(near * near) * erfc(near))


def _is_far(x: Array) -> Array:
    """Where the series is exact to rounding; up to there exp(x² / 2) is far from overflow."""
    return x > 0.8 * math.sqrt(2 * math.log(jnp.finfo(x.dtype).max))


def _inverse_square(x: Array, far: Array) -> Array:
    inverse = 1.0 / jnp.where(far, x, 1.0)
    return jnp.where(far, inverse * inverse, 0.0)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    result = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = result * x + coefficient
    return result
