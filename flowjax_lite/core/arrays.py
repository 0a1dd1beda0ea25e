"""Arrays to start from, made by numpy: XLA would compile a program for each shape.

Where a function is traced, `jax.numpy` makes them: they take no memory before its program runs.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from flowjax_lite.core.checks import default_dtype


def zeros(shape: int | Sequence[int]) -> Array:
    """Zeros of the default float type."""
    return _filled(0.0, shape)


def ones(shape: int | Sequence[int]) -> Array:
    """Ones of the default float type."""
    return _filled(1.0, shape)


def as_array(value: Any, dtype: DTypeLike, shape: Sequence[int]) -> Array:
    """Numbers as an array of that shape, to which they are broadcast."""
    if isinstance(value, Array) or _is_traced():
        return jnp.broadcast_to(jnp.asarray(value, dtype), tuple(shape))
    numbers = np.asarray(value, jnp.result_type(dtype))
    return jax.device_put(np.broadcast_to(numbers, tuple(shape)))


def _filled(value: float, shape: int | Sequence[int]) -> Array:
    return as_array(value, default_dtype(), (shape,) if isinstance(shape, int) else shape)


def _is_traced() -> bool:
    """Whether a function is being traced, here and now."""
    return isinstance(jax.device_put(np.float32(0)), jax.core.Tracer)
