"""Lengths of vectors of any size, with derivatives that stay finite at zero."""

import jax.numpy as jnp
from jax import Array, lax


def norm(x: Array) -> Array:
    """The Euclidean length of a vector, without overflow; its gradient at zero is zero.

    Args:
        x: (dim,).

    Returns:
        A scalar.
    """
    # The length is size · |x / size| whatever the size, so derivatives by the size are zero.
    size = lax.stop_gradient(jnp.max(jnp.abs(x)))
    is_zero = size < jnp.sqrt(jnp.finfo(x.dtype).tiny)
    scaled = jnp.where(is_zero, 1.0, x) / jnp.where(is_zero, 1.0, size)
    length = size * jnp.sqrt(jnp.sum(scaled**2))
    return jnp.where(is_zero, 0.0, length)
