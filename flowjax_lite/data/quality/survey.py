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
    dtype: np.dtype
    sketch: "RowSketch"

    def __init__(self) -> None:
        self.num_rows = self.num_used = self.num_bad = self._num_waiting = 0
        self.first_bad: tuple[int, int, float] | None = None

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
        array, size = array.reshape(len(array), -1), len(self._waiting)
        for start in range(0, len(array), size):
            self._take(array[start : start + size])

    def close(self) -> None:
        """Work off the rows that wait for a block to be full; called where results are read."""
        waiting, self._num_waiting = self._num_waiting, 0
        if waiting:
            zero = self.dtype.type(0)  # with it, -0.0 becomes 0.0
            self._work(self._waiting[:waiting] + zero, self._numbers[:waiting])

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
        dim, is_vector = math.prod(event_shape), len(event_shape) == 1
        size = max(_BLOCK_CELLS // dim, _MIN_BLOCK_ROWS if is_vector else 1)
        self._waiting, self._numbers = np.empty((size, dim), dtype), np.empty(size, np.int64)
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
        """Set bad rows aside, and let the others wait until there are enough for a block.

        Blocks of a fixed number of rows are worked on, so that sums do not depend on the caller's.
        """
        numbers = np.arange(self.num_rows, self.num_rows + len(block))
        self.num_rows += len(block)
        bad = ~np.isfinite(block)
        if bad.any():
            if self.first_bad is None:
                row, column = map(int, np.unravel_index(np.argmax(bad), bad.shape))
                self.first_bad = int(numbers[row]), column, float(block[row, column])
            self.num_bad += int(np.count_nonzero(bad))
            good = ~bad.any(axis=1)
            block, numbers = block[good], numbers[good]
        while len(block):
            start = self._num_waiting
            end = min(start + len(block), len(self._waiting))
            self._waiting[start:end] = block[: end - start]
            self._numbers[start:end] = numbers[: end - start]
            self._num_waiting = end
            if end == len(self._waiting):
                self.close()
            block, numbers = block[end - start :], numbers[end - start :]

    def _work(self, block: np.ndarray, numbers: np.ndarray) -> None:
        """Take in a block of finite rows."""
        if not self.num_used:
            middle = len(block) // 2  # a cell, where a mean of two could overflow
            self.centre = np.partition(block, middle, axis=0)[middle].astype(np.float64)
        self.num_used += len(block)
        self.low = np.minimum(self.low, block.min(axis=0))
        self.high = np.maximum(self.high, block.max(axis=0))
        self.sketch.add(block, numbers)
        for columns, is_so in ((self.whole, _are_whole), (self.grey, _are_grey)):
            candidates = np.flatnonzero(columns)
            columns[candidates] = is_so(block[:, candidates]).all(axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            deviations = block - self.centre
            self._sum = self._sum + deviations.sum(axis=0)
            if self._products.ndim == 2:
                self._products += deviations.T @ deviations
            else:
                self._products += np.einsum("nd,nd->d", deviations, deviations)
        self._note_farthest(np.abs(deviations), block, numbers)

    def _note_farthest(
        self, deviations: np.ndarray, block: np.ndarray, numbers: np.ndarray
    ) -> None:
        of = np.flatnonzero(deviations.max(axis=0) > self.farthest[-1])
        few = min(NUM_FARTHEST, len(block))
        far = np.argpartition(-deviations[:, of], few - 1, axis=0)[:few]
        rows = np.broadcast_to(numbers[:, None], block.shape)
        arrays = self.farthest, self.farthest_row, self.farthest_value
        merged = [
            np.concatenate([kept[:, of], np.take_along_axis(new[:, of], far, axis=0)])
            for kept, new in zip(arrays, (deviations, rows, block), strict=True)
        ]
        order = np.argsort(-merged[0], axis=0, kind="stable")[:NUM_FARTHEST]
        for kept, both in zip(arrays, merged, strict=True):
            kept[:, of] = np.take_along_axis(both, order, axis=0)


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
