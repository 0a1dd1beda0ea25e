"""Training rows that are read as they are needed: for data larger than memory."""

import math
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, final

import jax
import numpy as np
from jax import Array

from flowjax_lite.core.checks import default_dtype
from flowjax_lite.core.mesh import Placement
from flowjax_lite.data import Stream
from flowjax_lite.distributions import Flow
from flowjax_lite.training.feed import AbstractFeed, Piece, check_batch_size, join
from flowjax_lite.training.rows import Rows, given_rows, key_data, num_held_out
from flowjax_lite.training.stream_rows import StreamRows
from flowjax_lite.training.window import Window, batch_ends

_MOST_HELD_OUT = 2**30  # bytes
# Windows that are read ahead of the one asked for: one may need two blocks, the next none.
_AHEAD = 2


@final
class Streamed(AbstractFeed):
    """Rows of a stream, a window at a time; when one is asked for, the next two are read too.

    An epoch takes the blocks of the stream in an order of its own. What comes out is cut into
    windows that differ by one row at most, each of them into a part for each device, of which a
    process reads those of its own devices.

    Args:
        flow: what is trained.
        stream: the data.
        weights: (rows,), or None.
        validation: as `fit` takes it.
        key: randomness of the order and of the rows held out.
        checks: as `fit` takes it.
        batch_size: most rows of a batch.
        placement: the devices.
        progress: whether to show how far the first pass over the data is, which checks them.

    Raises:
        TypeError, ValueError: as `fit`.
    """

    def __init__(
        self,
        flow: Flow,
        stream: Stream,
        *,
        weights: Any,
        validation: Any,
        key: Array,
        checks: str,
        batch_size: int,
        placement: Placement,
        progress: bool,
    ) -> None:
        by_fraction = isinstance(validation, float)
        count = num_held_out(validation, len(stream)) if by_fraction else 0
        _check_held_out(stream, count)
        seed = tuple(int(word) for word in key_data(key).ravel())
        self._rows = StreamRows(stream, weights, num_held_out=count, seed=seed)
        self._placement = placement
        num_rows, parts = int(self._rows.sizes.sum()), placement.num_parts
        check_batch_size(batch_size, num_rows, parts)
        self.num_windows = -(-num_rows // max(stream.buffer, batch_size))
        self.capacity = -(-num_rows // (self.num_windows * parts))
        self.batches = -(-self.capacity // (batch_size // parts))
        self._cuts = batch_ends(num_rows, self.num_windows * parts)
        given = None if by_fraction else given_rows(flow, validation, checks=checks)
        held_out, self._checksum = self._rows.scan(flow, checks=checks, progress=progress)
        self.validation = held_out if by_fraction else given
        # Where JAX is told of a precision or a device for a while, only the own thread knows.
        self._precise = default_dtype() == np.float64
        self._device = jax.config.jax_default_device  # type: ignore[attr-defined]
        self._lock = threading.Lock()
        self._last: tuple[tuple[int, int], Piece] | None = None
        self._reader = ThreadPoolExecutor(1, "flowjax_lite-reader")
        self._now: tuple[tuple[int, int], Window] | None = None
        self._next: dict[tuple[int, int], Future[Window]] = {}

    def window(self, epoch: int, number: int) -> Window:
        at = epoch, number
        if self._now is None or self._now[0] != at:
            first, asked = epoch * self.num_windows + number, self._next
            wanted = [divmod(first + i, self.num_windows) for i in range(1 + _AHEAD)]
            for other in asked.keys() - wanted:  # the run has gone elsewhere
                asked.pop(other).cancel()
            for one in wanted:
                if one not in asked:
                    asked[one] = self._reader.submit(self._load, *one)
            self._now = at, asked.pop(at).result()
        return self._now[1]

    def pieces(self, epoch: int, number: int) -> list[Piece]:
        return [join(self._cut(epoch, number, part)) for part in range(self._placement.num_parts)]

    def checksum(self) -> str:
        return self._checksum

    def close(self) -> None:
        self._reader.shutdown(cancel_futures=True)

    def _load(self, epoch: int, number: int) -> Window:
        """Read a window, and put it on the devices."""
        place, first = self._placement, number * self._placement.num_parts
        sizes = np.diff(self._cuts[first : first + place.num_parts + 1])
        ends = np.stack([batch_ends(size, self.batches) for size in sizes])
        with jax.enable_x64(self._precise), jax.default_device(self._device):
            parts = {
                part: self._fill([piece.rows for piece in self._cut(epoch, number, part)])
                for part in place.parts_here
            }
            return Window(place.put_parts(parts), place.put(ends))

    def _fill(self, pieces: Sequence[Rows]) -> Rows:
        """Rows one after the other, with zeros in the room that is left."""

        def fill(*arrays: np.ndarray) -> np.ndarray:
            whole = np.zeros((self.capacity, *arrays[0].shape[1:]), arrays[0].dtype)
            np.concatenate(arrays, out=whole[: sum(map(len, arrays))])
            return whole

        filled: Rows = jax.tree.map(fill, *pieces)
        return filled

    def _cut(self, epoch: int, number: int, part: int) -> list[Piece]:
        """The rows of a part of a window, block after block."""
        order = self._rows.block_order(epoch)
        ends = np.cumsum(self._rows.sizes[order])
        which = number * self._placement.num_parts + part
        start, end = self._cuts[which : which + 2]
        pieces = []
        for i in range(*np.searchsorted(ends, (start, end - 1), side="right") + (0, 1)):
            begins = ends[i] - self._rows.sizes[order[i]]
            block = self._block(epoch, int(order[i]))
            pieces.append(block.take(slice(max(start - begins, 0), end - begins)))
        return pieces

    def _block(self, epoch: int, block: int) -> Piece:
        """The rows of a block; the last is kept, as a window may begin in its middle."""
        with self._lock:
            if self._last is None or self._last[0] != (epoch, block):
                self._last = (epoch, block), self._rows.training(epoch, block)
            return self._last[1]


def _check_held_out(stream: Stream, count: int) -> None:
    """Check that held-out rows, which stay in memory, are not themselves too large."""
    width = math.prod(stream.event_shape) + len(stream.condition_columns)
    if count * width * 4 > _MOST_HELD_OUT:
        raise ValueError(
            f"validation holds out {count} rows of {width} numbers, which stay in memory; "
            f"expected at most {_MOST_HELD_OUT >> 20} MiB: pass a smaller fraction of the "
            f"{len(stream)} rows, or an array"
        )
