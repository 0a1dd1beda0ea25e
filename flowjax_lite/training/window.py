"""The rows that lie on the devices at one time, and the batches that they are cut into."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.training.rows import Rows

_LAST = np.uint32(2**32 - 1)


class Window(NamedTuple):
    """Rows that are shuffled and trained on together; a pytree.

    They come in one part, which each device holds, or in one part for each device.

    Attributes:
        rows: (parts, capacity, ...) each; a part may have fewer rows than there is room for.
        ends: (parts, batches + 1), where batches begin among the shuffled rows of a part; the last
            number is how many rows it has.
    """

    rows: Rows
    ends: Array

    @property
    def capacity(self) -> int:
        """The room for rows in a part."""
        return self.rows.weights.shape[1]


def batch_ends(num_rows: int, num_batches: int) -> np.ndarray:
    """Where to cut rows into batches that differ by one row at most, (batches + 1,).

    The last batch is as full as the others, so no step rests on a handful of rows.
    """
    return np.arange(num_batches + 1) * num_rows // num_batches


def order_key(key: Array, epoch: int | Array, first: int | Array) -> Array:
    """The randomness of a window's order, from a run's key, the epoch and its first step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, epoch), 0), first)


def shuffled(key: Array, ends: Array | np.ndarray, capacity: int) -> Array:
    """An order of the rows of each part, (parts, capacity), in which missing rows come last.

    One sort of 32 random bits; `jax.random.permutation` sorts twice, for the sake of equal bits.

    Args:
        key: randomness.
        ends: as in `Window`.
        capacity: the room for rows in a part.
    """
    bits = jax.random.bits(key, (len(ends), capacity))
    there = jnp.arange(capacity)[None] < ends[:, -1:]
    return jnp.argsort(jnp.where(there, bits, _LAST), axis=1, stable=True)


def take_batch(window: Window, order: Array, batch: Array, *, multiple: int = 1) -> Rows:
    """The rows of one batch, from all parts.

    Args:
        window: the rows.
        order: of the rows of each part.
        batch: which batch.
        multiple: of the number of rows that a part gives.

    Returns:
        (parts * size,) rows, of which those that only fill the batch up have no weight.
    """
    num_batches = window.ends.shape[1] - 1
    size = -(-window.capacity // num_batches)
    size = -(-size // multiple) * multiple

    def take(rows: Rows, ends: Array, order: Array) -> Rows:
        positions = ends[batch] + jnp.arange(size)
        valid = positions < ends[batch + 1]
        index = order[jnp.clip(positions, 0, ends[batch + 1] - 1)]
        taken = jax.tree.map(lambda array: array[index], rows)
        return taken._replace(weights=jnp.where(valid, taken.weights, 0.0))

    parts = jax.vmap(take)(window.rows, window.ends, order)
    return jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:]), parts)
