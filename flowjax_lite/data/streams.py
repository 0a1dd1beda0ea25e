"""Data that stay where they lie, and are read as they are needed, a block of rows at a time."""

import math
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.data.arrays import frame_columns
from flowjax_lite.data.dataset import Split, join
from flowjax_lite.data.read.binary import open_npy
from flowjax_lite.data.read.files import reading
from flowjax_lite.data.read.parquet import Parquet
from flowjax_lite.data.read.table import (
    TableError,
    column_positions,
    divide_columns,
    naming,
    numbered,
)

_LEAST_MIXED = 64  # blocks that come together in a buffer, so that its rows are a mixture
_BLOCK_BYTES = 2**18  # large enough for a disk to read at full speed

# From the number of a block and the positions of the columns of x and of the condition.
_Read = Callable[[int, Sequence[int], Sequence[int]], Split]


@dataclass(frozen=True, eq=False)
class Stream:
    """Rows that are read a block at a time, for `fit`; opened by `stream`.

    Attributes:
        name: What messages call the data.
        sizes: Number of rows of each block, `(blocks,)`.
        event_shape: Shape of a row of x.
        columns: Names of the columns of x; empty where rows have more than one axis.
        condition_columns: Names of the columns of the condition; empty without one.
        buffer: Rows that are held in memory and shuffled together.
        read: Reads the block of a number, in memory of its own and in the type that the source
            has; a ValueError where it cannot be read.
    """

    name: str
    sizes: np.ndarray
    event_shape: tuple[int, ...]
    columns: tuple[str, ...]
    condition_columns: tuple[str, ...]
    buffer: int
    read: Callable[[int], Split] = field(repr=False)

    @property
    def condition_shape(self) -> tuple[int, ...] | None:
        """Shape of a row of the condition; None without one."""
        return (len(self.condition_columns),) if self.condition_columns else None

    def __len__(self) -> int:
        return int(self.sizes.sum())

    def sample(self, num: int, *, seed: int = 0) -> Split:
        """Draw rows, such as for `Standardize.from_data`, for `initialize` or for a picture.

        Args:
            num: How many, of as many as there are.
            seed: Seed of the choice.

        Returns:
            The rows, in a random order, of at least 64 random blocks where there are so many.

        Raises:
            ValueError: num is out of range, or a block cannot be read.
        """
        check_positive_int(num, "num")
        if num > len(self):
            raise ValueError(f"num is {num}, and {self.name} has {len(self)} rows; ask for fewer")
        random = np.random.default_rng(seed)
        order = random.permutation(len(self.sizes))
        enough = int(np.searchsorted(np.cumsum(self.sizes[order]), num)) + 1
        chosen = order[: max(enough, _LEAST_MIXED)]
        counts = random.multivariate_hypergeometric(self.sizes[chosen], num, method="marginals")
        parts = []
        for block, count in zip(chosen, counts, strict=True):
            rows = self.read(int(block))
            parts.append(rows[random.permutation(len(rows))[:count]].cast())
        return join(*parts)[random.permutation(num)]


def stream(
    source: Any,
    *,
    columns: Sequence[str] | None = None,
    condition_columns: Sequence[str] | None = None,
    buffer: int = 65536,
) -> Stream:
    """Open data that `fit` then reads from where they lie, shuffled anew in each epoch.

    Blocks of rows come in a random order; those that fill the buffer are shuffled row by row, and
    the next buffer is read while one trains. Memory holds a few buffers, and of a parquet file a
    row group, which should have no more rows than the buffer.

    Args:
        source: The path of a `.npy` or `.parquet` file, or a list of paths of files with the same
            columns; a memory-mapped array `(n, d)` or `(n, height, width, channels)`; or any
            source with a length and items, such as those of Grain and its `MapDataset`. An item is
            a row `(d,)`, a batch of rows `(n, d)`, an image of three axes, a batch of images of
            four, or a pair of that and its condition `(c,)` or `(n, c)`. Batches cost Python less:
            where single rows are read slowly, give the source some hundred at a time.
        columns: Names of the columns that make x; all that are left by default. Columns without
            names are called `x0`, `x1`, ..., those of the second part of pairs `c0`, `c1`, ...
        condition_columns: Names of the columns that make the condition; by default the second
            part of pairs.
        buffer: Rows that are held in memory and shuffled together.

    Returns:
        The stream.

    Raises:
        FileNotFoundError, IsADirectoryError, ImportError: As `read_table`.
        TypeError: The source is none of these.
        ValueError: A file cannot be read, or there are no such columns.

    Example:
        >>> import numpy as np, flowjax_lite as fl
        >>> x = np.random.default_rng(0).standard_normal((1000, 2)).astype(np.float32)
        >>> rows = fl.data.stream(list(x))  # any source whose items are rows
        >>> len(rows), rows.sample(5).x.shape
        (1000, (5, 2))
    """
    check_positive_int(buffer, "buffer")
    name, blocks = _open(source, max(1, buffer // _LEAST_MIXED))
    if condition_columns is None:
        condition_columns = blocks.columns[len(blocks.columns) - blocks.num_conditions :]
    with naming(name):
        if len(blocks.event_shape) == 1:
            of_x, of_condition = divide_columns(columns, condition_columns, blocks.columns)
            event_shape: tuple[int, ...] = (len(of_x),)
        elif columns is not None:
            raise TableError(f"has events of shape {blocks.event_shape}; leave columns out.")
        else:
            of_x, event_shape = (), blocks.event_shape
            of_condition = tuple(column_positions(condition_columns, blocks.columns))
    return Stream(
        name,
        blocks.sizes,
        event_shape,
        tuple(blocks.columns[i] for i in of_x),
        tuple(blocks.columns[i] for i in of_condition),
        buffer,
        lambda block: blocks.read(block, of_x, of_condition),
    )


class _Blocks(NamedTuple):
    """Rows that lie in blocks, each of which can be read alone.

    Attributes:
        sizes: Number of rows of each, `(blocks,)`.
        event_shape: Shape of a row.
        columns: Names of the columns of vectors, and of conditions.
        read: Reads one block.
        num_conditions: How many of the columns, the last ones, are meant as a condition.
    """

    sizes: np.ndarray
    event_shape: tuple[int, ...]
    columns: tuple[str, ...]
    read: _Read
    num_conditions: int = 0


def _open(source: Any, most_rows: int) -> tuple[str, _Blocks]:
    """What messages call a source, and its blocks, of at most so many rows where it has none."""
    if isinstance(source, str | PathLike):
        return str(source), _open_file(Path(source), most_rows)
    if isinstance(source, np.ndarray):
        if source.ndim < 2 or not source.size:
            raise ValueError(f"the array has shape {source.shape}; expected (n, d) with rows in it")
        return "data", _array(source, most_rows)
    has_items = hasattr(source, "__len__") and hasattr(source, "__getitem__")
    if not has_items or frame_columns(source) is not None:
        raise TypeError(
            f"the source is a {type(source).__name__}; expected a path, a list of paths, an array, "
            "or a source with a length and items, such as those of Grain; frames go to fit as they "
            "are"
        )
    if not len(source):
        raise ValueError("the source is empty; expected at least one row")
    if isinstance(source, list | tuple) and isinstance(source[0], str | PathLike):
        blocks = [_open_file(Path(path), most_rows) for path in source]
        return f"{source[0]} and {len(source) - 1} more", _joined(blocks)
    return f"the {type(source).__name__}", _items(source, most_rows)


def _open_file(path: Path, most_rows: int) -> _Blocks:
    with reading(path):
        if path.suffix.lower() == ".parquet":
            return _parquet(path)
        if path.suffix.lower() == ".npy":
            return _npy(path, most_rows)
        raise TableError(
            f"the ending {path.suffix!r} cannot be read a block at a time. Convert the file to "
            ".npy or .parquet, or read it whole with read_table."
        )


def _parquet(path: Path) -> _Blocks:
    """The row groups of a file."""
    file = Parquet(path)

    def read(block: int, of_x: Sequence[int], of_condition: Sequence[int]) -> Split:
        with reading(path):
            values = file.read([file.columns[i] for i in (*of_x, *of_condition)], [block])
        return Split(values[:, : len(of_x)], values[:, len(of_x) :] if of_condition else None)

    sizes = np.array(file.sizes, np.int64)
    return _Blocks(sizes, (len(file.columns),), file.columns, read)


def _npy(path: Path, most_rows: int) -> _Blocks:
    """Parts of a file, read and not mapped: pages of a map would count as memory of the process."""
    shape, dtype, first_byte = open_npy(path)
    width = math.prod(shape[1:])
    row_bytes = width * dtype.itemsize

    def rows(start: int, end: int) -> np.ndarray:
        num, offset = (end - start) * width, first_byte + start * row_bytes
        with reading(path):
            values = np.fromfile(path, dtype, num, offset=offset)
            if len(values) != num:
                raise TableError("has become shorter since it was opened. Write it again.")
        return values.reshape(-1, *shape[1:])

    return _slices(rows, shape, row_bytes, most_rows)


def _array(values: np.ndarray, most_rows: int) -> _Blocks:
    """Slices of an array, such as a part of a memory-mapped one."""

    def rows(start: int, end: int) -> np.ndarray:
        copy = np.array(values[start:end])
        _release(values)
        return copy

    return _slices(rows, values.shape, values[0].nbytes, most_rows)


def _slices(
    rows: Callable[[int, int], np.ndarray], shape: tuple[int, ...], row_bytes: int, most_rows: int
) -> _Blocks:
    """Equal parts of what gives any rows from a start to an end."""
    step = max(1, min(most_rows, _BLOCK_BYTES // row_bytes))

    def read(block: int, of_x: Sequence[int], of_condition: Sequence[int]) -> Split:
        values = rows(block * step, min((block + 1) * step, shape[0]))
        return _divided(values, of_x, of_condition)

    columns = numbered("x", shape[1]) if len(shape) == 2 else ()
    return _Blocks(_equal_sizes(shape[0], step), shape[1:], columns, read)


def _items(source: Any, most_rows: int) -> _Blocks:
    """Items of any source with a length, a block of at least one; those with `__getitems__` many.

    Raises:
        TypeError: The first item is neither a row nor a batch of rows, nor a pair of such.
    """
    first = source[0]
    is_pair = isinstance(first, tuple) and len(first) == 2
    x, condition = map(np.atleast_1d, first if is_pair else (first, np.empty(0)))
    is_batch = x.ndim in (2, 4)
    if is_batch and condition.shape == x.shape[:1]:
        condition = condition[:, None]
    fits = not is_pair or condition.shape[:-1] == x.shape[:is_batch]
    if x.ndim > 4 or not x.size or x.dtype.kind not in "fiub" or not fits:
        shapes = f"{x.dtype} of shape {x.shape}" + f" and {condition.shape}" * (not fits)
        raise TypeError(
            f"the first item of the source is {shapes}; expected a row of numbers (d,), a batch of "
            "rows (n, d), an image of three axes, a batch of images, or a pair of that and its "
            "condition (c,) or (n, c): map the source to such items first"
        )
    num_rows = len(x) if is_batch else 1
    event_shape = x.shape[is_batch:]
    num_conditions = condition.shape[-1]
    step = max(1, most_rows // num_rows)

    def rows(numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        many = getattr(source, "__getitems__", None)
        items = many(numbers) if many else [source[i] for i in numbers]
        parts = zip(*items, strict=True) if is_pair else [items]
        together = np.concatenate if is_batch else np.stack
        x, *rest = (together([np.asarray(value) for value in part]) for part in parts)
        x = x.reshape(-1, *event_shape)
        return x, rest[0].reshape(len(x), num_conditions) if rest else np.empty((len(x), 0))

    def read(block: int, of_x: Sequence[int], of_condition: Sequence[int]) -> Split:
        start = block * step
        x, condition = rows(range(start, min(start + step, len(source))))
        if len(x) != sizes[block]:
            raise ValueError(
                f"items from {start} of the source hold {len(x)} rows, and the first item promises "
                f"{sizes[block]}; only the last batch may be smaller"
            )
        if len(event_shape) == 1:
            values = np.hstack([x, condition]) if is_pair else x
            return _divided(values, of_x, of_condition)
        return Split(x, condition[:, list(of_condition)] if of_condition else None)

    sizes = num_rows * _equal_sizes(len(source), step)
    if is_batch:
        sizes[-1] += len(rows([len(source) - 1])[0]) - num_rows
    columns = numbered("x", event_shape[0]) if len(event_shape) == 1 else ()
    columns += numbered("c", num_conditions)
    return _Blocks(sizes, event_shape, columns, read, num_conditions)


def _joined(parts: Sequence[_Blocks]) -> _Blocks:
    """The blocks of several sources, one after the other.

    Raises:
        TableError: Their rows differ in columns or shape.
    """
    first = parts[0]
    for i, part in enumerate(parts):
        if (part.columns, part.event_shape) != (first.columns, first.event_shape):
            raise TableError(
                f"differ: file {i} (counted from 0) has {_described(part)}, and the first one "
                f"{_described(first)}. Give files of one table."
            )
    ends = np.cumsum([len(part.sizes) for part in parts])

    def read(block: int, of_x: Sequence[int], of_condition: Sequence[int]) -> Split:
        part = int(np.searchsorted(ends, block, side="right"))
        start = int(ends[part - 1]) if part else 0
        return parts[part].read(block - start, of_x, of_condition)

    sizes = np.concatenate([part.sizes for part in parts])
    return first._replace(sizes=sizes, read=read)


def _described(blocks: _Blocks) -> str:
    return f"rows of shape {blocks.event_shape} with the columns {', '.join(blocks.columns)}"


def _equal_sizes(num_rows: int, rows_per_block: int) -> np.ndarray:
    """The sizes of blocks of which the last may be smaller."""
    starts = np.arange(0, num_rows, rows_per_block)
    return np.minimum(rows_per_block, num_rows - starts)


def _divided(values: np.ndarray, of_x: Sequence[int], of_condition: Sequence[int]) -> Split:
    """The columns of x and of the condition; all columns in their order are not copied."""
    if values.ndim > 2 or list(of_x) == list(range(values.shape[1])):
        return Split(values)
    return Split(values[:, list(of_x)], values[:, list(of_condition)] if of_condition else None)


def _release(values: np.ndarray) -> None:
    """Give back the pages of a memory-mapped file, which else count as memory of the process."""
    owner: Any = values
    while isinstance(owner, np.ndarray) and not isinstance(owner.base, mmap.mmap):
        owner = owner.base
    # Changes to a copy-on-write map would be lost; not all systems can.
    if owner is not None and owner.mode in ("r", "r+") and hasattr(mmap, "MADV_DONTNEED"):
        owner.base.madvise(mmap.MADV_DONTNEED)
