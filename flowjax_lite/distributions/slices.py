"""Evaluating many rows a few at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.core.checks import as_key, check_positive_int


def in_slices(
    evaluate: Callable[..., Any],
    arrays: tuple[Any, ...],
    key: Array | int | None,
    batch_size: int | None,
) -> Any:
    """`evaluate(*arrays, key)` of batch_size rows at a time.

    The last slice is filled up, so that all of them run in one program; and each is waited for, so
    that the device holds one at a time.

    Args:
        evaluate: returns an array (rows, ...), or a tree of them.
        arrays: (rows, ...) each, perhaps in the host's memory, or None; the first is no None.
        key: each slice has a key of its own; None for none.
        batch_size: None for all rows at once.

    Returns:
        What evaluate returns, of all rows.

    Raises:
        TypeError: batch_size is not a whole number.
        ValueError: it is below 1.
    """
    number = len(arrays[0])
    key = None if key is None else as_key(key)
    if batch_size is None or number <= check_positive_int(batch_size, "batch_size"):
        return evaluate(*arrays, key)
    starts = range(0, number, batch_size)
    keys = [None] * len(starts) if key is None else jax.random.split(key, len(starts))
    parts = []
    for start, k in zip(starts, keys, strict=True):
        index = np.minimum(np.arange(start, start + batch_size), number - 1)
        rows = [None if array is None else array[index] for array in arrays]
        parts.append(jax.tree.map(np.asarray, evaluate(*rows, k)))
    return jax.tree.map(lambda *slices: jnp.asarray(np.concatenate(slices)[:number]), *parts)
