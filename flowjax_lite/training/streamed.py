"""Where the batches of a run come from: rows that are read as they are needed."""

import hashlib
import math
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, final

import jax
import numpy as np
from jax import Array
from tqdm.auto import tqdm

from flowjax_lite.core.checks import check_choice, default_dtype
from flowjax_lite.core.mesh import Placement
from flowjax_lite.data import CHECKS, Stream, Survey, enforce, findings
from flowjax_lite.data.arrays import as_rows
from flowjax_lite.distributions import Flow
from flowjax_lite.training.batches import AbstractSource, Window, batch_ends
from flowjax_lite.training.rows import (
    Rows,
    check_shapes,
    check_weights,
    expects_unit_scale,
    given_rows,
    key_data,
    num_held_out,
    places,
)

_MOST_HELD_OUT = 2**30  # bytes
# Windows that are read ahead of the one asked for: one may need two blocks, the next none.
_AHEAD = 2
# What random numbers are for.
_HELD_OUT, _BLOCKS, _ROWS = range(3)


@final
class Streamed(AbstractSource):
    """Rows of a stream, a window at a time; when one is asked for, the next two are read too.

    An epoch has the blocks of the stream in an order of its own. What comes out is cut into
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
        count = num_held_out(validation, len(stream))
        _check_held_out(stream, count or 0)
        self.placement, self._stream = placement, stream
        self._seed = tuple(int(word) for word in key_data(key).ravel())
        self._weights = check_weights(weights, stream.name, len(stream))
        self._ends = np.cumsum(stream.sizes)
        part = (count or 0) / len(stream)  # of each block
        self._held_out = np.diff(np.rint(self._ends * part).astype(np.int64), prepend=0)
        self._sizes = stream.sizes - self._held_out
        num_rows, parts = int(self._sizes.sum()), placement.num_parts
        if min(num_rows, batch_size) < parts:
            raise ValueError(
                f"batch_size is {batch_size}, of {num_rows} training rows, and {parts} devices "
                f"divide a batch: give {parts} or more of both, so that each device has a row"
            )
        self.num_windows = -(-num_rows // max(stream.buffer, batch_size))
        self._capacity = -(-num_rows // (self.num_windows * parts))
        self.batches = -(-self._capacity // (batch_size // parts))
        self._cuts = batch_ends(num_rows, self.num_windows * parts)
        given = given_rows(flow, validation, checks=checks) if count is None else None
        held_out, self._checksum = self._scan(flow, checks=checks, progress=progress)
        self.validation = given if count is None else held_out
        # Where JAX is told of a precision or a device for a while, only the own thread knows.
        self._precise = default_dtype() == np.float64
        self._device = jax.config.jax_default_device  # type: ignore[attr-defined]
        self._lock = threading.Lock()
        self._last: tuple[tuple[int, int], Rows] | None = None
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

    def checksum(self) -> str:
        return self._checksum

    def close(self) -> None:
        self._reader.shutdown(cancel_futures=True)

    def _load(self, epoch: int, number: int) -> Window:
        """Read a window, and put it on the devices."""
        place, first = self.placement, number * self.placement.num_parts
        sizes = np.diff(self._cuts[first : first + place.num_parts + 1])
        ends = np.stack([batch_ends(size, self.batches) for size in sizes])
        with jax.enable_x64(self._precise), jax.default_device(self._device):
            parts = {
                part: self._filled(self._part(epoch, first + part)) for part in place.parts_here
            }
            return Window(place.put_parts(parts), place.put(ends))

    def _filled(self, pieces: Sequence[Rows]) -> Rows:
        """Rows one after the other, with zeros in the room that is left."""

        def fill(*arrays: np.ndarray) -> np.ndarray:
            whole = np.zeros((self._capacity, *arrays[0].shape[1:]), arrays[0].dtype)
            np.concatenate(arrays, out=whole[: sum(map(len, arrays))])
            return whole

        filled: Rows = jax.tree.map(fill, *pieces)
        return filled

    def _part(self, epoch: int, part: int) -> list[Rows]:
        """The rows of one of the epoch's parts, block after block."""
        order = self._random(_BLOCKS, epoch).permutation(len(self._sizes))
        ends = np.cumsum(self._sizes[order])
        start, end = self._cuts[part : part + 2]
        pieces = []
        for i in range(*np.searchsorted(ends, (start, end - 1), side="right") + (0, 1)):
            begins = ends[i] - self._sizes[order[i]]
            rows = self._training_rows(epoch, int(order[i]))
            pieces.append(rows.at(slice(max(start - begins, 0), end - begins)))
        return pieces

    def _training_rows(self, epoch: int, block: int) -> Rows:
        """The rows of a block that are trained on, in an order of this epoch.

        The last block is kept, as a window may begin in its middle.
        """
        with self._lock:
            if self._last is None or self._last[0] != (epoch, block):
                rows = self._held_out_first(block)[self._held_out[block] :]
                order = self._random(_ROWS, epoch, block).permutation(rows)
                self._last = (epoch, block), self._read(block).at(order)
            return self._last[1]

    def _scan(self, flow: Flow, *, checks: str, progress: bool) -> tuple[Rows, str]:
        """Read everything once to check it; return the rows held out, and a checksum of all."""
        check_choice(checks, CHECKS, "checks")
        stream, rows = self._stream, len(self._stream)
        given = (rows, *stream.condition_shape) if stream.condition_shape else None
        check_shapes(flow, (rows, *stream.event_shape), given, name=stream.name)
        digest, held_out = hashlib.sha256(), []
        survey, of_conditions = Survey(), Survey()
        blocks = range(len(self._sizes))
        for block in tqdm(blocks, "checking the data", disable=not progress, unit="block"):
            piece = self._read(block)
            if checks != "off":
                survey.add(piece.x)
                if piece.condition is not None:
                    of_conditions.add(piece.condition)
            for array in jax.tree.leaves(piece):
                digest.update(np.ascontiguousarray(array).data)
            held_out.append(piece.at(self._held_out_first(block)[: self._held_out[block]]))
        if checks != "off":
            problems = findings(
                survey,
                name=stream.name,
                columns=stream.columns,
                unit_scale=expects_unit_scale(flow),
            )
            enforce(problems, checks=checks)
            if of_conditions.num_rows:
                problems = findings(
                    of_conditions,
                    name=f"the condition of {stream.name}",
                    columns=stream.condition_columns,
                    allow_degenerate=True,
                )
                enforce(problems, checks=checks)
        together = jax.tree.map(lambda *arrays: np.concatenate(arrays), *held_out)
        return together, digest.hexdigest()

    def _read(self, block: int) -> Rows:
        """All rows of a block, in the model's precision.

        Raises:
            ValueError: the block cannot be read.
        """
        split, name, dtype = self._stream.read(block), self._stream.name, default_dtype()
        start, stop = self._ends[block] - len(split), self._ends[block]
        x, condition = as_rows(split.x, name=name, dtype=dtype), split.condition
        if condition is not None:
            condition = as_rows(
                condition, name=f"the condition of {name}", dtype=dtype, whole_numbers=True
            )
        return Rows(x, condition, self._weights[start:stop], places(start, stop))

    def _held_out_first(self, block: int) -> np.ndarray:
        """An order of the rows of a block in which those that are held out come first."""
        return self._random(_HELD_OUT, block).permutation(int(self._stream.sizes[block]))

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([*purpose, *self._seed])


def _check_held_out(stream: Stream, count: int) -> None:
    """Check that held-out rows, which stay in memory, are not themselves too large."""
    width = math.prod(stream.event_shape) + len(stream.condition_columns)
    if count * width * 4 > _MOST_HELD_OUT:
        raise ValueError(
            f"validation holds out {count} rows of {width} numbers, which stay in memory; "
            f"expected at most {_MOST_HELD_OUT >> 20} MiB: pass a smaller fraction of the "
            f"{len(stream)} rows, or an array"
        )
