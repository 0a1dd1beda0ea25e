"""Random arrays, drawn as vectors and shaped afterwards.

The numbers are those of `jax.random`. But XLA takes seconds on a CPU to compile random bits of four
axes, and a third of one for those of a vector; a flow of images has a kernel of another shape in
each of its layers.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from flowjax_lite.core.checks import Shape, default_dtype

_CUT_STD = 0.87962566103423978  # of a standard normal within two standard deviations


def normal(key: Array, shape: Shape, dtype: DTypeLike | None = None) -> Array:
    """Standard normal numbers, of the default float type unless another is given."""
    return jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)


def uniform(
    key: Array, shape: Shape, dtype: DTypeLike | None = None, *, low: float = 0.0, high: float = 1.0
) -> Array:
    """Uniform numbers of [low, high), of the default float type unless another is given."""
    vector = jax.random.uniform(key, (math.prod(shape),), dtype, minval=low, maxval=high)
    return vector.reshape(shape)


def rademacher(key: Array, shape: Shape, dtype: DTypeLike) -> Array:
    """Numbers that are 1 or -1."""
    return jax.random.rademacher(key, (math.prod(shape),), dtype).reshape(shape)


def lecun_normal(key: Array, shape: Shape) -> Array:
    """Initial weights of variance one over the number of inputs, normal but for far tails.

    LeCun, Bottou, Orr and Müller, 1998, Efficient BackProp, section 4.6.

    Args:
        key: randomness.
        shape: of weights (..., outputs); the axes before the last are those of inputs.
    """
    dtype = default_dtype()
    variance = jnp.asarray(1 / math.prod(shape[:-1]), dtype)
    std = jnp.sqrt(variance) / jnp.asarray(_CUT_STD, dtype)
    vector = jax.random.truncated_normal(key, -2, 2, (math.prod(shape),), dtype)
    return vector.reshape(shape) * std
