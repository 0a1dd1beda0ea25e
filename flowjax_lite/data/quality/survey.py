"""What one pass over rows tells about them, in bounded memory."""

import math

import numpy as np
from numpy.typing import ArrayLike

from flowjax_lite.data.arrays import as_rows

NUM_FARTHEST = 8
_BLOCK_CELLS = 2**18  # as float64 they fit into a processor's cache
_MIN_BLOCK_ROWS = 512  # with fewer, adding up products costs more than the products
_GREY = 1e-3  # rounding of a multiple of 1/255, in grey levels
_SKETCH_ROWS = 1024, 8192  # at least and at most
_SKETCH_CELLS = 2**24
_SEED = 0x5EED


class Survey:
    """Statistics of rows that come block by block, such as from a file larger than memory.

        survey = fl.data.Survey()
        for block in blocks:
            survey.add(block)
        fl.data.enforce(fl.data.findings(survey), checks="warn")

    Rows that hold NaN or infinite cells are counted, and left out of all else. Results do not
    depend on how the rows are divided into blocks, to the last bit. Events of more than one axis,
    such as images, are looked at entry by entry, as if each were a column.

    Attributes:
        event_shape: Shape of a row; d entries.
        num_rows: Rows so far.
        num_used: Those without NaN or infinite cells, as far as worked off.
        num_bad: Cells that are NaN or infinite.
        first_bad: Row, column and value of the first of them, or None.
        low, high: Extremes of each column, `(d,)`.
        whole: Columns that hold whole numbers alone, `(d,)`.
        grey: Columns that hold multiples of 1/255 in [0, 1] alone, `(d,)`.
        centre: A location within each column, `(d,)`, from which deviations are measured.
        sketch: A sample of the distinct rows.
        farthest: The largest |deviations| of each column, `(8, d)`, in falling order.
        farthest_row, farthest_value: Their row numbers and cells, `(8, d)`.
    """

    event_shape: tuple[int, ...]
    sketch: "RowSketch"
    dtype: np.dtype

    def __init__(self) -> None:
        self.num_rows = self.num_bad = self.num_used = 0
        self.first_bad: tuple[int, int, float] | None = None
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._num_waiting = 0

    def add(self, rows: ArrayLike) -> None:
        """Take in the next rows.

        Args:
            rows: `(n, *event_shape)`, of a float type; shape and type are those of the first call.

        Raises:
            TypeError: The rows are no floats, or of another type than those before.
            ValueError: The rows have another shape, or there are none.
        """
        array = as_rows(rows, name="the block")
        if array.itemsize > 8:
            array = array.astype(np.float64)
        if not self.num_rows:
            self._start(array.shape[1:], array.dtype)
        if array.dtype != self.dtype:
            raise TypeError(f"the block has type {array.dtype}; blocks before it {self.dtype}")
        if array.shape[1:] != self.event_shape:
            expected = ", ".join(map(str, self.event_shape))
            raise ValueError(f"the block has shape {array.shape}; expected (n, {expected})")
        array = array.reshape(len(array), -1)
        for start in range(0, len(array), self._size):
            self._take(array[start : start + self._size])

    def close(self) -> None:
        """Work off what waits for the next block; called where results are read."""
        if self._waiting:
            self._work(*(np.concatenate(part) for part in zip(*self._waiting, strict=True)))
            self._waiting, self._num_waiting = [], 0

    @property
    def dim(self) -> int:
        """The number of columns."""
        return len(self.low)

    @property
    def mean(self) -> np.ndarray:
        """The mean of each column, `(d,)`."""
        return self.centre + self._sum / self.num_used

    @property
    def variance(self) -> np.ndarray:
        """The variance of each column, `(d,)`; not finite where float64 overflows."""
        products = self._products if self._products.ndim == 1 else np.diag(self._products)
        with np.errstate(over="ignore", invalid="ignore"):
            return products / self.num_used - (self._sum / self.num_used) ** 2

    @property
    def covariance(self) -> np.ndarray:
        """The covariance of the columns of vectors, `(d, d)`; not finite as `variance`."""
        shift = self._sum / self.num_used
        with np.errstate(over="ignore", invalid="ignore"):
            return self._products / self.num_used - shift[:, None] * shift

    def _start(self, event_shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.event_shape, self.dtype = event_shape, dtype
        dim = math.prod(event_shape)
        is_vector = len(event_shape) == 1
        self._size = max(_BLOCK_CELLS // dim, _MIN_BLOCK_ROWS if is_vector else 1)
        self.low, self.high = np.full(dim, np.inf, dtype), np.full(dim, -np.inf, dtype)
        self.whole, self.grey = np.full(dim, True), np.full(dim, True)
        self.centre = self._sum = np.zeros(dim)
        # Of images, all products would take more memory than the images.
        self._products = np.zeros((dim, dim) if is_vector else dim)
        self.sketch = RowSketch(dim, dtype)
        self.farthest = np.full((NUM_FARTHEST, dim), -1.0)
        self.farthest_row = np.zeros((NUM_FARTHEST, dim), np.int64)
        self.farthest_value = np.zeros((NUM_FARTHEST, dim), dtype)

    def _take(self, block: np.ndarray) -> None:
        """Set bad rows aside, and work where enough rows for a block wait."""
        block = np.ascontiguousarray(block) + block.dtype.type(0)  # -0.0 becomes 0.0
        numbers = np.arange(self.num_rows, self.num_rows + len(block))
        self.num_rows += len(block)
        low, high = block.min(axis=0), block.max(axis=0)  # NaN goes through both
        if not (np.isfinite(low) & np.isfinite(high)).all():
            bad = ~np.isfinite(block)
            if self.first_bad is None:
                row, column = (int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))
                self.first_bad = int(numbers[row]), column, float(block[row, column])
            self.num_bad += int(np.count_nonzero(bad))
            good = ~bad.any(axis=1)
            block, numbers = block[good], numbers[good]
            if not len(block):
                return
            low, high = block.min(axis=0), block.max(axis=0)
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        if not self._waiting and len(block) == self._size:
            self._work(block, numbers)
            return
        self._waiting.append((block, numbers))
        self._num_waiting += len(block)
        if self._num_waiting >= self._size:
            waiting, numbers = (np.concatenate(part) for part in zip(*self._waiting, strict=True))
            self._work(waiting[: self._size], numbers[: self._size])
            rest = waiting[self._size :], numbers[self._size :]
            self._num_waiting -= self._size
            self._waiting = [rest] if self._num_waiting else []

    def _work(self, block: np.ndarray, numbers: np.ndarray) -> None:
        """Take in a block of finite rows."""
        if not self.num_used:
            middle = len(block) // 2  # a cell, where a mean of two could overflow
            self.centre = np.partition(block, middle, axis=0)[middle].astype(np.float64)
        self.num_used += len(block)
        self.sketch.add(block, numbers)
        for columns, is_so in ((self.whole, _are_whole), (self.grey, _are_grey)):
            candidates = np.flatnonzero(columns)
            if candidates.size:
                columns[candidates] = is_so(block[:, candidates]).all(axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            deviations = block - self.centre
            self._sum = self._sum + deviations.sum(axis=0)
            if self._products.ndim == 2:
                self._products += deviations.T @ deviations
            else:
                self._products += np.einsum("nd,nd->d", deviations, deviations)
        np.abs(deviations, out=deviations)
        self._note_farthest(deviations, block, numbers)

    def _note_farthest(
        self, deviations: np.ndarray, block: np.ndarray, numbers: np.ndarray
    ) -> None:
        columns = np.flatnonzero(deviations.max(axis=0) > self.farthest[-1])
        most = deviations[:, columns]
        rows = np.arange(len(most))[:, None]
        if len(most) > NUM_FARTHEST:
            rows = np.sort(np.argpartition(most, -NUM_FARTHEST, axis=0)[-NUM_FARTHEST:], axis=0)
        merged = np.concatenate([self.farthest[:, columns], most[rows, np.arange(len(columns))]])
        order = np.argsort(-merged, axis=0, kind="stable")[:NUM_FARTHEST]
        self.farthest[:, columns] = np.take_along_axis(merged, order, axis=0)
        for kept, new in (
            (self.farthest_row, np.broadcast_to(numbers[rows], (len(rows), len(columns)))),
            (self.farthest_value, block[rows, columns]),
        ):
            both = np.concatenate([kept[:, columns], new])
            kept[:, columns] = np.take_along_axis(both, order, axis=0)


def _are_whole(cells: np.ndarray) -> np.ndarray:
    return cells == np.floor(cells)


def _are_grey(cells: np.ndarray) -> np.ndarray:
    inside = np.clip(cells, 0, 1)
    levels = 255 * inside
    return (inside == cells) & (np.abs(levels - np.rint(levels)) < _GREY)


class RowSketch:
    """The distinct rows whose hashes are smallest, each with how often and where it came first.

    As hashes are uniform, this is a random sample of the distinct rows, and how close together
    its hashes lie tells how many distinct rows there are: exactly up to 8192, then to 1.1 % (one
    standard deviation). The order of the rows does not matter. Of rows of more than 2048 cells
    fewer are kept, at least 1024 (3.1 %).

    Bar-Yossef et al. (2002), Counting distinct elements in a data stream, algorithm 2.

    Attributes:
        values: The rows, `(k, d)`.
        counts: How often each came, `(k,)`.
        first: The number of the row in which each came first, `(k,)`.
    """

    def __init__(self, dim: int, dtype: np.dtype) -> None:
        least, most = _SKETCH_ROWS
        self._size = min(most, max(least, _SKETCH_CELLS // dim))
        self.values = np.empty((0, dim), dtype)
        self.counts, self.first = np.empty(0, np.int64), np.empty(0, np.int64)
        self._hashes = np.empty(0, np.uint64)
        factors = np.random.default_rng(_SEED).integers(2**64, size=dim, dtype=np.uint64)
        self._factors = factors | np.uint64(1)

    def add(self, rows: np.ndarray, numbers: np.ndarray) -> None:
        """Take in a contiguous block of rows without negative zeros, and their numbers."""
        hashes = _hash(rows, self._factors)
        if len(self._hashes) == self._size:
            small = np.flatnonzero(hashes <= self._hashes[-1])
            hashes, rows, numbers = hashes[small], rows[small], numbers[small]
        if not hashes.size:
            return
        hashes, index, group = np.unique(
            np.concatenate([self._hashes, hashes]), return_index=True, return_inverse=True
        )
        counts = np.concatenate([self.counts, np.ones(len(rows), np.int64)])
        self.counts = np.bincount(group, counts)[: self._size].astype(np.int64)
        self._hashes, index = hashes[: self._size], index[: self._size]
        self.values = np.concatenate([self.values, rows])[index]
        self.first = np.concatenate([self.first, numbers])[index]

    @property
    def error(self) -> float:
        """The relative standard deviation of `num_distinct`; 0 while all distinct rows are kept."""
        return 0.0 if len(self._hashes) < self._size else self._size**-0.5

    def num_distinct(self) -> float:
        """Estimate how many distinct rows came."""
        if len(self._hashes) < self._size:
            return len(self._hashes)
        return (self._size - 1) / (float(self._hashes[-1]) / 2.0**64)


def _hash(rows: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Hash rows to 64 bits: a sum of random multiples of the cells' bits, then mixed."""
    bits = rows.view(f"u{rows.itemsize}").astype(np.uint64)
    # Odd multiples of a sign bit are all alike: it must reach lower bits.
    bits ^= bits >> np.uint64(8 * rows.itemsize // 2 - 1)
    bits *= factors
    h = bits.sum(axis=1, dtype=np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        h ^= h >> np.uint64(shift)
        h *= np.uint64(factor)
    return h ^ (h >> np.uint64(31))
