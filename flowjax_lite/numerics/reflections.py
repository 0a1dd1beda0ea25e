"""Products of Householder reflections, applied without building a matrix."""

import jax.numpy as jnp
from jax import Array, lax


def reflect(vectors: Array, x: Array, *, transpose: bool = False) -> Array:
    """Mirror x at the hyperplane orthogonal to each vector, the first vector first.

    It costs O(num · dim), keeps lengths, and is undone by its transpose. A vector too short to
    have a direction, such as zero, leaves x as it is.

    Args:
        vectors: (num, dim), of any length.
        x: (dim,).
        transpose: take the last vector first.

    Returns:
        (dim,), x - 2 v (v · x) / (v · v) for one vector v after the other.
    """
    # A reflection depends on a direction alone. Dividing by the largest entry first keeps the
    # squares from over- and underflowing; derivatives by that divisor are zero.
    size = jnp.max(jnp.abs(vectors), axis=1, keepdims=True)
    short = size <= jnp.sqrt(jnp.finfo(vectors.dtype).tiny)  # False for NaN, which stays NaN
    scaled = jnp.where(short, 1.0, vectors) / lax.stop_gradient(jnp.where(short, 1.0, size))
    units = scaled / jnp.linalg.norm(scaled, axis=1, keepdims=True)

    def mirror(x: Array, unit: Array) -> tuple[Array, None]:
        return x - 2 * jnp.dot(unit, x, precision=lax.Precision.HIGHEST) * unit, None

    return lax.scan(mirror, x, jnp.where(short, 0.0, units), reverse=transpose)[0]
