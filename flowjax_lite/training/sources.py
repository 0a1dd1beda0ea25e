"""Where the batches of a run come from: rows in memory, or a stream that is read ahead."""

import hashlib
from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.core.checks import default_dtype, listed
from flowjax_lite.core.mesh import Placement
from flowjax_lite.distributions.model import AbstractModel
from flowjax_lite.losses import Loss
from flowjax_lite.training.rows import Blocks, Divided, Rows

_LAST = np.uint32(2**32 - 1)
# Windows that are read ahead of the one asked for: one may need two blocks, the next none.
_AHEAD = 2


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


def order_key(key: Array, epoch: int | Array, first: int | np.ndarray | Array) -> Array:
    """The randomness of a window's order, from a run's key, the epoch and the window's step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, epoch), 0), first)


def most_rows_of_a_batch(given: int | None, num_rows: int) -> int:
    """What is given, or what `fit` says of so many training rows: few need small batches.

    In large ones an epoch of few rows is a step or two.
    """
    if given is not None:
        return int(given)
    return min(max(16, 2 ** ((num_rows // 16).bit_length() - 1)), 256)


class AbstractSource(ABC):
    """Where the batches of a run come from, a window at a time.

    Attributes:
        placement: the devices that divide the rows of a batch.
        validation: rows held out, on the host, or None.
        num_windows: of an epoch.
        batches: of a window.
        batch_size: most rows of a batch, or of an evaluation at a time.
        advice: what to do where steps fail.
    """

    placement: Placement
    validation: Rows | None = None
    num_windows: int = 1
    batches: int
    batch_size: int = 1
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

    def describe(self, flow: AbstractModel, loss: Loss, key: Array, epoch: int, step: int) -> str:
        """Name the rows of a batch whose own loss is not finite; where all are, all rows.

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
        rows = rows.at(rows.weights > 0)

        def of_one(row: Rows) -> Array:
            x, condition, weights, _ = jax.tree.map(lambda array: array[None], row)
            return loss(flow, x, condition, jnp.ones_like(weights), None)

        bad = np.sort(rows.positions[~np.isfinite(jax.vmap(of_one)(rows))])
        if not bad.size:
            batch_rows = listed(np.sort(rows.positions))
            return f"each row's loss is finite; the batch holds rows {batch_rows}"
        return f"the loss of {len(bad)} of its {rows.num_rows} rows is not finite: {listed(bad)}"

    def close(self) -> None:  # noqa: B027
        """End what goes on in the background."""


@jax.jit
def _rows_of(window: Window, key: Array, batch: int) -> Rows:
    return window.rows_of(window.order(key), jnp.asarray(batch))


@final
class InMemory(AbstractSource):
    """All rows in one window, on every device, for the whole run.

    Args:
        rows: those to train on, and those held out.
        batch_size: most rows of a batch, or None, as for `fit`.
        placement: the devices that divide them.
    """

    def __init__(self, rows: Divided, *, batch_size: int | None, placement: Placement) -> None:
        self._rows, self.validation, self.placement = rows, rows.validation, placement
        num_rows = rows.training.num_rows
        self.batch_size = most_rows_of_a_batch(batch_size, num_rows)
        self.batches = -(-num_rows // self.batch_size)
        ends = batch_ends(num_rows, self.batches)
        window = Window(*jax.tree.map(lambda array: array[None], (rows.training, ends)))
        self._window = placement.put(window)

    def window(self, epoch: int, number: int) -> Window:
        return self._window

    def checksum(self) -> str:
        digest = hashlib.sha256()
        for array in jax.tree.leaves(self._rows):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@final
class Streamed(AbstractSource):
    """Rows of a stream, a window at a time; when one is asked for, the next two are read too.

    An epoch has the blocks of the stream in an order of its own. What comes out is cut into
    windows that differ by one row at most, each of them into a part for each device, of which a
    process reads those of its own devices.

    Args:
        rows: those of the stream.
        batch_size: most rows of a batch, or None, as for `fit`.
        placement: the devices that divide them.

    Raises:
        ValueError: a batch has fewer rows than there are devices.
    """

    def __init__(self, rows: Blocks, *, batch_size: int | None, placement: Placement) -> None:
        self._rows, self.validation, self.placement = rows, rows.validation, placement
        num_rows, parts = int(rows.sizes.sum()), placement.num_parts
        self.batch_size = size = most_rows_of_a_batch(batch_size, num_rows)
        if min(num_rows, size) < parts:
            raise ValueError(
                f"batch_size is {size}, of {num_rows} training rows, and {parts} devices "
                f"divide a batch: give {parts} or more of both, so that each device has a row"
            )
        self.num_windows = -(-num_rows // max(rows.buffer, size))
        self._capacity = -(-num_rows // (self.num_windows * parts))
        self.batches = -(-self._capacity // (size // parts))
        self._cuts = batch_ends(num_rows, self.num_windows * parts)
        # Where JAX is told of a precision or a device for a while, only the own thread knows.
        self._precise = default_dtype() == np.float64
        self._device = jax.config.jax_default_device  # type: ignore[attr-defined]
        self._reader = ThreadPoolExecutor(1, "flowjax_lite-reader")
        self._windows: dict[int, Future[Window]] = {}

    def window(self, epoch: int, number: int) -> Window:
        now = epoch * self.num_windows + number
        wanted = range(now, now + 1 + _AHEAD)
        for other in self._windows.keys() - wanted:  # gone by, or the run has gone elsewhere
            self._windows.pop(other).cancel()
        for one in wanted:
            if one not in self._windows:
                at = divmod(one, self.num_windows)
                self._windows[one] = self._reader.submit(self._load, *at)
        return self._windows[now].result()

    def checksum(self) -> str:
        return self._rows.checksum

    def close(self) -> None:
        self._reader.shutdown(cancel_futures=True)

    def _load(self, epoch: int, number: int) -> Window:
        """Read a window, and put it on the devices."""
        place, first = self.placement, number * self.placement.num_parts
        sizes = np.diff(self._cuts[first : first + place.num_parts + 1])
        ends = np.stack([batch_ends(size, self.batches) for size in sizes])
        with jax.enable_x64(self._precise), jax.default_device(self._device):
            parts = {part: self._part(epoch, first + part) for part in place.parts_here}
            return Window(place.put_parts(parts), place.put(ends))

    def _part(self, epoch: int, part: int) -> Rows:
        """The rows of one of the epoch's parts, with zeros in the room that is left."""
        order = self._rows.order(epoch)
        ends = np.cumsum(self._rows.sizes[order])
        start, end = self._cuts[part : part + 2]
        pieces = []
        first, last = np.searchsorted(ends, (start, end - 1), side="right")
        for i in range(first, last + 1):
            begins = ends[i] - self._rows.sizes[order[i]]
            of_block = self._rows.training_rows(epoch, int(order[i]))
            pieces.append(of_block.at(slice(max(start - begins, 0), end - begins)))

        def filled(*arrays: np.ndarray) -> np.ndarray:
            whole = np.zeros((self._capacity, *arrays[0].shape[1:]), arrays[0].dtype)
            np.concatenate(arrays, out=whole[: end - start])
            return whole

        part_rows: Rows = jax.tree.map(filled, *pieces)
        return part_rows
