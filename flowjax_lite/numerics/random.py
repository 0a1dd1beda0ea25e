"""Random arrays: the numbers of `jax.random`, and no program where a key is known.

XLA compiles a program for each new length, on a CPU for a quarter of a second or more: to build a
flow would take longer than to read the library. So numpy computes the same numbers where nothing is
traced, those of floats up to rounding. In functions that are traced `jax.random` draws, as vectors
that are shaped afterwards, because random bits of four axes take XLA seconds.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from flowjax_lite.core.checks import Shape, default_dtype

# Initial weights are of a normal distribution cut at two standard deviations.
_CUT = 2
_CUT_STD = 0.87962566103423978  # of a standard normal that is cut there


def normal(key: Array, shape: Shape, dtype: DTypeLike | None = None) -> Array:
    """Standard normal numbers, of the default float type unless another is given."""
    dtype = jnp.dtype(default_dtype() if dtype is None else dtype)
    if _is_known(key) and dtype in (np.float32, np.float64):
        above = np.nextafter(dtype.type(-1), dtype.type(0))  # at -1 it would be infinite
        return jax.device_put(_normal_within(key, float(above), 1.0, shape, dtype))
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
    dtype = jnp.dtype(default_dtype())
    variance = dtype.type(1 / math.prod(shape[:-1]))
    if _is_known(key):
        bound = math.erf(_CUT / math.sqrt(2))
        std = np.sqrt(variance) / dtype.type(_CUT_STD)
        return jax.device_put(_normal_within(key, -bound, bound, shape, dtype) * std)
    vector = jax.random.truncated_normal(key, -_CUT, _CUT, (math.prod(shape),), dtype)
    return vector.reshape(shape) * (jnp.sqrt(variance) / jnp.asarray(_CUT_STD, dtype))


def split(key: Array, num: int) -> Array | list[Array]:
    """So many keys of their own, an array of them where key is traced."""
    if not _is_known(key):
        return jax.random.split(key, num)
    words = np.stack(_threefry(_words(key), num), axis=1)
    return [jax.random.wrap_key_data(jax.device_put(each)) for each in words]


def permutation(key: Array, num: int) -> Array | np.ndarray:
    """The whole numbers below num in an order drawn uniformly."""
    if not _is_known(key):
        return jax.random.permutation(key, num)
    words, order = _words(key), np.arange(num)
    # Two numbers may draw the same bits, so long orders are drawn several times.
    for _ in range(math.ceil(3 * math.log(max(num, 1)) / math.log(2**32 - 1))):
        words, of_round = np.stack(_threefry(words, 2), axis=1)
        order = order[np.argsort(np.bitwise_xor(*_threefry(of_round, num)), kind="stable")]
    return order


def _is_known(key: Array) -> bool:
    """Whether numpy can draw what `jax.random` would: nothing is traced, and the key is usual."""
    return (
        not isinstance(key, jax.core.Tracer)
        and jax.config.jax_threefry_partitionable  # type: ignore[attr-defined]
        and jax.random.key_impl(key) == "threefry2x32"
    )


def _normal_within(
    key: Array, low: float, high: float, shape: Shape, dtype: np.dtype
) -> np.ndarray:
    """Standard normal numbers x with erf(x / √2) in [low, high)."""
    from scipy.special import erfinv  # a quarter of a second, for those alone who draw

    first, second = _threefry(_words(key), math.prod(shape))
    if dtype == np.float64:
        bits = first.astype(np.uint64) << np.uint64(32) | second
    else:
        bits = first ^ second
    # Random digits of a number in [1, 2).
    digits = bits >> bits.dtype.type(8 * dtype.itemsize - np.finfo(dtype).nmant)
    u = (digits | np.ones((), dtype).view(bits.dtype)).view(dtype) - dtype.type(1)
    u = np.maximum(u * dtype.type(high - low) + dtype.type(low), dtype.type(low))
    return (dtype.type(math.sqrt(2)) * erfinv(u)).reshape(shape)


def _words(key: Array) -> np.ndarray:
    """The two words of 32 bits of a usual key."""
    return np.asarray(jax.random.key_data(key))


def _threefry(key: np.ndarray, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Two words of 32 random bits for each number below num.

    Threefry-2x32 of 20 rounds: Salmon, Moraes, Dror and Shaw, 2011, Parallel random numbers: as
    easy as 1, 2, 3, SC '11.

    Args:
        key: (2,), of 32 bits each.
        num: how many.
    """
    keys = key[:1], key[1:], key[:1] ^ key[1:] ^ np.uint32(0x1BD11BDA)
    counts = np.arange(num, dtype=np.uint64)
    x, y = (counts >> np.uint64(32)).astype(np.uint32) + keys[0], counts.astype(np.uint32) + keys[1]
    for i in range(5):
        for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[i % 2]:
            x = x + y
            y = x ^ (y << np.uint32(turn) | y >> np.uint32(32 - turn))
        x, y = x + keys[(i + 1) % 3], y + (keys[(i + 2) % 3] + np.uint32(i + 1))
    return x, y
