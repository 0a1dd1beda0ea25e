"""Where the batches of a run come from: rows in memory, shuffled anew in each epoch."""

import hashlib
from abc import ABC, abstractmethod
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.core.mesh import Placement
from flowjax_lite.distributions import Flow
from flowjax_lite.losses import Loss
from flowjax_lite.training.failure import describe_rows
from flowjax_lite.training.rows import Rows

_LAST = np.uint32(2**32 - 1)


class Window(NamedTuple):
    """Rows that lie on the devices at one time, shuffled and trained on together; a pytree.

    They come in one part, which each device holds, or in one part for each device.

    Attributes:
        rows: (parts, capacity, ...) each; a part may have fewer rows than there is room for.
        ends: (parts, batches + 1), where batches begin among the shuffled rows of a part; the last
            number is how many rows it has.
    """

    rows: Rows
    ends: Array

    def order(self, key: Array) -> Array:
        """A random order of the rows of each part, (parts, capacity), with missing rows last.

        One sort of 32 random bits; `jax.random.permutation` sorts twice, for the sake of equal
        bits.
        """
        parts, capacity = self.rows.weights.shape
        bits = jax.random.bits(key, (parts, capacity))
        there = jnp.arange(capacity)[None] < self.ends[:, -1:]
        return jnp.argsort(jnp.where(there, bits, _LAST), axis=1, stable=True)

    def rows_of(self, order: Array, number: Array, *, multiple: int = 1) -> Rows:
        """The rows of one batch, from all parts.

        Args:
            order: of the rows of each part.
            number: which batch.
            multiple: of the number of rows that a part gives.

        Returns:
            (parts * size,) rows, of which those that only fill the batch up have no weight.
        """
        size = -(-self.rows.weights.shape[1] // (self.ends.shape[1] - 1))
        size = -(-size // multiple) * multiple

        def of_part(rows: Rows, ends: Array, order: Array) -> Rows:
            places = ends[number] + jnp.arange(size)
            chosen = rows.at(order[jnp.clip(places, 0, ends[number + 1] - 1)])
            weights = jnp.where(places < ends[number + 1], chosen.weights, 0.0)
            return chosen._replace(weights=weights)

        parts = jax.vmap(of_part)(self.rows, self.ends, order)
        return jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:]), parts)

    def batch(
        self, order: Array, number: Array, key: Array | None, placement: Placement
    ) -> tuple[tuple[Any, ...], Array]:
        """What the loss takes beside the flow in one step, and the weight of all its rows."""
        multiple = placement.num_parts // len(self.ends)
        rows = placement.spread(self.rows_of(order, number, multiple=multiple))
        return (rows.x, rows.condition, rows.weights, key), jnp.sum(rows.weights)


def batch_ends(num_rows: int, num_batches: int) -> np.ndarray:
    """Where to cut rows into batches that differ by one row at most, (batches + 1,).

    The last batch is as full as the others, so no step rests on a handful of rows.
    """
    return np.arange(num_batches + 1) * num_rows // num_batches


def order_key(key: Array, epoch: int | Array, first: int | Array) -> Array:
    """The randomness of a window's order, from a run's key, the epoch and the window's step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, epoch), 0), first)


class AbstractSource(ABC):
    """Where the batches of a run come from, a window at a time.

    Attributes:
        placement: the devices that divide the rows of a batch.
        validation: rows held out, on the host, or None.
        num_windows: of an epoch.
        batches: of a window.
        advice: what to do where steps fail.
    """

    placement: Placement
    validation: Rows | None = None
    num_windows: int = 1
    batches: int
    advice: str = "lower learning_rate, or check the data for outliers with Standardize.from_data"

    @property
    @final
    def num_steps(self) -> int:
        """The most steps of an epoch."""
        return self.num_windows * self.batches

    def steps(self, epoch: int) -> range:
        """The steps of an epoch, counted from the start of the run."""
        return range(epoch * self.num_steps, (epoch + 1) * self.num_steps)

    @abstractmethod
    def window(self, epoch: int, number: int) -> Any:
        """One window on the devices; it has the methods `order` and `batch` of `Window`.

        Raises:
            ValueError: its rows cannot be read.
        """

    @abstractmethod
    def checksum(self) -> str:
        """Of all data, hexadecimal, to know them again."""

    def describe(self, flow: Flow, loss: Loss, key: Array, epoch: int, step: int) -> str:
        """Name the rows of a batch whose loss is not finite.

        Args:
            flow: under whose parameters.
            loss: what was to be minimised.
            key: of the run.
            epoch: number of the epoch.
            step: of this epoch.
        """
        number, batch = divmod(step, self.batches)
        window = self.window(epoch, number)
        rows = _rows_of(window, order_key(key, epoch, number * self.batches), batch)
        rows = self.placement.to_host(rows)
        return describe_rows(flow, rows.at(rows.weights > 0), loss)

    def close(self) -> None:  # noqa: B027
        """End what goes on in the background."""


@jax.jit
def _rows_of(window: Window, key: Array, batch: int) -> Rows:
    return window.rows_of(window.order(key), jnp.asarray(batch))


@final
class InMemory(AbstractSource):
    """All rows in one window, on every device, for the whole run.

    Args:
        rows: to train on.
        validation: rows held out, or None.
        batch_size: most rows of a batch.
        placement: the devices.
    """

    def __init__(
        self, rows: Rows, validation: Rows | None, *, batch_size: int, placement: Placement
    ) -> None:
        self.validation, self.placement = validation, placement
        self.batches = -(-rows.num_rows // batch_size)
        self._rows = rows
        ends = batch_ends(rows.num_rows, self.batches)
        window = Window(*jax.tree.map(lambda array: array[None], (rows, ends)))
        self._window = placement.put(window)

    def window(self, epoch: int, number: int) -> Window:
        return self._window

    def checksum(self) -> str:
        digest = hashlib.sha256()
        for array in jax.tree.leaves((self._rows, self.validation)):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()
