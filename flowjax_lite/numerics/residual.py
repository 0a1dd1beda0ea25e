"""The scalar map a + s · tanh(a): its slope kept positive, and its inverse."""

import math

import jax
import jax.numpy as jnp
from jax import Array, lax

from flowjax_lite.numerics.root import monotone_root
from flowjax_lite.numerics.scalar import sigmoid_log_derivative

_MIN_SLOPE = 0.01


def slope_factor(s: Array) -> Array:
    """A positive factor f by which s must be multiplied so that 1 + f s stays well above zero.

    A residual map x + u h(w x), with the slope of h in (0, 1], is invertible where w u > -1;
    multiplying u by the factor of s = w u makes it so. The product f s increases in s from -0.99
    to 100, with f = 1 at s = 0: neither direction of the map can stretch by more than about 100.

    Args:
        s: values of any shape.

    Returns:
        The factor, of s's shape.
    """
    down, up = 1 / (1 - _MIN_SLOPE), _MIN_SLOPE
    middle = 1 - (down + up) * math.log(2)
    return 1 / (middle + down * jax.nn.softplus(-s) + up * jax.nn.softplus(s))


def before_slope_factor(s: Array) -> Array:
    """The raw number whose product with its `slope_factor` is s.

    Args:
        s: values of any shape.

    Returns:
        Raw numbers, of s's shape; NaN where s is not between -0.99 and 100.
    """
    return monotone_root(lambda raw: raw * slope_factor(raw) - s, s)


def tanh_and_slope(a: Array) -> tuple[Array, Array]:
    """tanh(a) and its derivative, without cancellation far from zero; both of a's shape."""
    return jnp.tanh(a), jnp.exp(math.log(4) + sigmoid_log_derivative(2 * a))


def solve_residual_tanh(s: Array, target: Array) -> Array:
    """Solve a + s · tanh(a) = target elementwise.

    Args:
        s: values above -1, of any shape.
        target: values of s's shape.

    Returns:
        a, of s's shape; NaN where it was not found.
    """
    return monotone_root(lambda a: a + s * jnp.tanh(a) - target, target)


def solve_triangular_residual_tanh(matrix: Array, target: Array) -> Array:
    """Solve a + matrix · tanh(a) = target, from the last entry up.

    Args:
        matrix: (n, n), upper triangular, its diagonal above -1.
        target: (n,).

    Returns:
        a, (n,); an entry that was not found is NaN, and so are those before it.
    """

    def step(h: Array, row: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        i, weights, target_i = row
        rest = jnp.matmul(weights, h, precision=lax.Precision.HIGHEST)  # of the entries after i
        a_i = solve_residual_tanh(weights[i], target_i - rest)
        return h.at[i].set(jnp.tanh(a_i)), a_i

    rows = jnp.arange(target.size), matrix, target
    return lax.scan(step, jnp.zeros_like(target), rows, reverse=True)[1]
