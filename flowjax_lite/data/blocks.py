"""Rows in blocks, each of which can be read alone: for data that do not fit into memory."""

import mmap
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowjax_lite.data.npy_file import open_npy
from flowjax_lite.data.paths import file_errors
from flowjax_lite.data.table import TableError, numbered

_BLOCK_BYTES = 2**18  # large enough for a disk to read at full speed


class AbstractBlocks(ABC):
    """Rows of numbers that lie in blocks.

    Attributes:
        columns: names of the columns.
        sizes: (blocks,), the number of rows of each.
        num_conditions: how many of the columns, the last ones, are meant as a condition.
    """

    columns: tuple[str, ...]
    sizes: np.ndarray
    num_conditions: int = 0

    @abstractmethod
    def read(self, block: int, columns: Sequence[int]) -> np.ndarray:
        """Read one block.

        Args:
            block: its number.
            columns: positions of the columns to keep, in this order.

        Returns:
            `(rows, len(columns))`, in memory of its own, of the type that the source has.

        Raises:
            ValueError: It cannot be read.
        """


class NpyBlocks(AbstractBlocks):
    """A `.npy` file, read and not mapped: pages of a map would count as memory of the process.

    Args:
        path: The file; its rows lie one after the other (C order).
        most_rows: Most rows of a block.

    Raises:
        TableError: The file is damaged, of another order, or holds no rows of real numbers.
    """

    def __init__(self, path: Path, most_rows: int) -> None:
        self._path = path
        self._shape, self._dtype, self._start = open_npy(path)
        self.columns = numbered("x", self._shape[1])
        self._rows = _rows_per_block(self._dtype.itemsize * self._shape[1], most_rows)
        self.sizes = _equal_sizes(self._shape[0], self._rows)

    def read(self, block: int, columns: Sequence[int]) -> np.ndarray:
        width, rows = self._shape[1], int(self.sizes[block])
        start = self._start + block * self._rows * width * self._dtype.itemsize
        with file_errors(self._path):
            values = np.fromfile(self._path, self._dtype, rows * width, offset=start)
            if len(values) != rows * width:
                raise TableError("has become shorter since it was opened. Write it again.")
        return _take_columns(values.reshape(rows, width), columns)


class ArrayBlocks(AbstractBlocks):
    """An array that is sliced, such as a part of a memory-mapped one.

    Args:
        values: `(n, d)`.
        most_rows: Most rows of a block.
    """

    def __init__(self, values: np.ndarray, most_rows: int) -> None:
        self._values = values
        self._rows = _rows_per_block(values.itemsize * values.shape[1], most_rows)
        self.columns = numbered("x", values.shape[1])
        self.sizes = _equal_sizes(len(values), self._rows)

    def read(self, block: int, columns: Sequence[int]) -> np.ndarray:
        start = block * self._rows
        values = np.array(self._values[start : start + self._rows])
        _release(self._values)
        return _take_columns(values, columns)


class ItemBlocks(AbstractBlocks):
    """Any source with a length whose items are rows or batches of rows, such as those of Grain.

    Args:
        source: Each item is a row `(d,)` or a batch of rows `(n, d)`, of which the last may be
            smaller; or a pair of that and its condition `(c,)` or `(n, c)`. Columns are called
            `x0`, ... and `c0`, ... A source with `__getitems__` is asked for many at a time.
        most_rows: Most rows of a block, or an item where that is larger.

    Raises:
        TypeError: Items are neither.
        ValueError: There are none.
    """

    def __init__(self, source: Any, most_rows: int) -> None:
        if not len(source):
            raise ValueError("the source is empty; expected at least one row")
        self._source = source
        first = source[0]
        pair = first if isinstance(first, tuple) and len(first) == 2 else (first, np.empty(0))
        x, condition = map(np.atleast_1d, pair)
        related = pair[0] is first or x.shape[:-1] == condition.shape[:-1]
        if x.ndim > 2 or not x.size or x.dtype.kind not in "fiub" or not related:
            shapes = f"{x.dtype} of shape {x.shape}" + f" and {condition.shape}" * (not related)
            raise TypeError(
                f"the first item of the source is {shapes}; expected a row of numbers (d,), a "
                "batch of rows (n, d), or a pair of that and its condition (c,) or (n, c): map the "
                "source to such items first"
            )
        self._batches = x.ndim == 2
        self.num_conditions = condition.shape[-1]
        self.columns = numbered("x", x.shape[-1]) + numbered("c", self.num_conditions)
        rows = len(x) if self._batches else 1
        self._items = max(1, most_rows // rows)
        self.sizes = rows * _equal_sizes(len(source), self._items)
        if self._batches:
            self.sizes[-1] += len(self._rows([len(source) - 1])) - rows

    def read(self, block: int, columns: Sequence[int]) -> np.ndarray:
        start = block * self._items
        values = self._rows(range(start, min(start + self._items, len(self._source))))
        if len(values) != self.sizes[block]:
            raise ValueError(
                f"items from {start} of the source hold {len(values)} rows, and the first item "
                f"promises {self.sizes[block]}; only the last batch may be smaller"
            )
        return _take_columns(values, columns)

    def _rows(self, numbers: Sequence[int]) -> np.ndarray:
        """The rows of some items."""
        many = getattr(self._source, "__getitems__", None)
        items = many(numbers) if many else [self._source[i] for i in numbers]
        rows = [np.hstack(item) if isinstance(item, tuple) else item for item in items]
        values = np.concatenate(rows) if self._batches else np.stack(rows)
        return values.reshape(-1, len(self.columns))


class JoinedBlocks(AbstractBlocks):
    """The blocks of several sources, one after the other.

    Args:
        parts: Sources with the same columns.

    Raises:
        TableError: Their columns differ.
    """

    def __init__(self, parts: Sequence[AbstractBlocks]) -> None:
        self.columns = parts[0].columns
        for i, part in enumerate(parts):
            if part.columns != self.columns:
                raise TableError(
                    f"differ: file {i} (counted from 0) has the columns {', '.join(part.columns)}, "
                    f"and the first one {', '.join(self.columns)}. Give files of one table."
                )
        self._parts = parts
        self._ends = np.cumsum([len(part.sizes) for part in parts])
        self.sizes = np.concatenate([part.sizes for part in parts])

    def read(self, block: int, columns: Sequence[int]) -> np.ndarray:
        part = int(np.searchsorted(self._ends, block, side="right"))
        first = int(self._ends[part - 1]) if part else 0
        return self._parts[part].read(block - first, columns)


def _rows_per_block(row_bytes: int, most_rows: int) -> int:
    return max(1, min(most_rows, _BLOCK_BYTES // row_bytes))


def _equal_sizes(num_rows: int, rows_per_block: int) -> np.ndarray:
    """The sizes of blocks of which the last may be smaller."""
    starts = np.arange(0, num_rows, rows_per_block)
    return np.minimum(rows_per_block, num_rows - starts)


def _take_columns(values: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Some columns; all in their order are not copied."""
    every = list(columns) == list(range(values.shape[1]))
    return values if every else values[:, list(columns)]


def _release(values: np.ndarray) -> None:
    """Give back the pages of a memory-mapped file, which else count as memory of the process."""
    owner: Any = values
    while isinstance(owner, np.ndarray) and not isinstance(owner.base, mmap.mmap):
        owner = owner.base
    # Changes to a copy-on-write map would be lost; not all systems can.
    if owner is not None and owner.mode in ("r", "r+") and hasattr(mmap, "MADV_DONTNEED"):
        owner.base.madvise(mmap.MADV_DONTNEED)
