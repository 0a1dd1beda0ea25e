"""A map on an interval, continued by straight lines."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array


def with_linear_tails(
    function: Callable[[Array], tuple[Array, Array]], value: Array, bound: float
) -> tuple[Array, Array]:
    """Evaluate a map inside [-bound, bound], and its tangents at the two ends outside.

    The map never sees a value outside, so nothing in it overflows far out.

    Args:
        function: elementwise, from values inside to their images and to the map's slope.
        value: any shape.
        bound: half-width of the interval.

    Returns:
        The images and the logarithms of the slopes, of value's shape.
    """
    inside = jnp.clip(value, -bound, bound)
    finite = jnp.isfinite(value)
    beyond = jnp.where(finite, value - inside, 0.0)
    image, slope = function(inside)
    return jnp.where(finite, image + slope * beyond, value), jnp.log(slope)
