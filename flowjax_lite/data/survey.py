"""What one pass over rows tells about each column, in bounded memory."""

import numpy as np
from numpy.typing import ArrayLike

from flowjax_lite.data.arrays import as_rows
from flowjax_lite.data.sketch import RowSketch

NUM_FARTHEST = 8
_BLOCK_CELLS = 2**18  # as float64 they fit into a processor's cache
_MIN_BLOCK_ROWS = 512  # with fewer, adding up products costs more than the products


class Survey:
    """Statistics of rows that come block by block, such as from a file larger than memory.

        survey = fl.data.Survey()
        for block in blocks:
            survey.add(block)
        fl.data.enforce(fl.data.findings(survey), checks="warn")

    Rows that hold NaN or infinite cells are counted, and left out of all else. Results do not
    depend on how the rows are divided into blocks, to the last bit.

    Attributes:
        num_rows: Rows so far.
        num_used: Those without NaN or infinite cells, as far as worked off.
        num_bad: Cells that are NaN or infinite.
        first_bad: Row, column and value of the first of them, or None.
        low, high: Extremes of each column, `(d,)`.
        whole: Columns that hold whole numbers alone, `(d,)`.
        centre: A location within each column, `(d,)`, from which deviations are measured.
        sketch: A sample of the distinct rows.
        farthest: The largest |deviations| of each column, `(8, d)`, in falling order.
        farthest_row, farthest_value: Their row numbers and cells, `(8, d)`.
    """

    sketch: RowSketch
    dtype: np.dtype

    def __init__(self) -> None:
        self.num_rows = self.num_bad = self.num_used = 0
        self.first_bad: tuple[int, int, float] | None = None
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._num_waiting = 0

    def add(self, rows: ArrayLike) -> None:
        """Take in the next rows.

        Args:
            rows: `(n, d)`, of a float type; d and the type are those of the first call.

        Raises:
            TypeError: The rows are no floats, or of another type than those before.
            ValueError: The rows have another rank or width, or there are none.
        """
        array = as_rows(rows, name="the block")
        if array.itemsize > 8:
            array = array.astype(np.float64)
        if not self.num_rows:
            self._start(array.shape[1], array.dtype)
        if array.dtype != self.dtype:
            raise TypeError(f"the block has type {array.dtype}; blocks before it {self.dtype}")
        if array.shape[1] != self.dim:
            raise ValueError(f"the block has shape {array.shape}; expected (n, {self.dim})")
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
    def covariance(self) -> np.ndarray:
        """The covariance of the columns, `(d, d)`; not finite where float64 overflows."""
        shift = self._sum / self.num_used
        with np.errstate(over="ignore", invalid="ignore"):
            return self._products / self.num_used - shift[:, None] * shift

    def _start(self, dim: int, dtype: np.dtype) -> None:
        self.dtype = dtype
        self._size = max(_BLOCK_CELLS // dim, _MIN_BLOCK_ROWS)
        self.low, self.high = np.full(dim, np.inf, dtype), np.full(dim, -np.inf, dtype)
        self.whole = np.full(dim, True)
        self.centre = self._sum = np.zeros(dim)
        self._products = np.zeros((dim, dim))
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
        candidates = np.flatnonzero(self.whole)
        if candidates.size:
            cells = block[:, candidates]
            self.whole[candidates] = (cells == np.floor(cells)).all(axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            deviations = block - self.centre
            self._sum = self._sum + deviations.sum(axis=0)
            self._products += deviations.T @ deviations
        np.abs(deviations, out=deviations)
        for column in np.flatnonzero(deviations.max(axis=0) > self.farthest[-1]):
            self._note_farthest(int(column), deviations[:, column], block, numbers)

    def _note_farthest(
        self, column: int, deviation: np.ndarray, block: np.ndarray, numbers: np.ndarray
    ) -> None:
        rows = np.flatnonzero(deviation > self.farthest[-1, column])
        if len(rows) > NUM_FARTHEST:
            rows = rows[np.argsort(-deviation[rows], kind="stable")[:NUM_FARTHEST]]
        merged = np.concatenate([self.farthest[:, column], deviation[rows]])
        order = np.argsort(-merged, kind="stable")[:NUM_FARTHEST]
        self.farthest[:, column] = merged[order]
        for kept, new in (
            (self.farthest_row, numbers[rows]),
            (self.farthest_value, block[rows, column]),
        ):
            kept[:, column] = np.concatenate([kept[:, column], new])[order]
