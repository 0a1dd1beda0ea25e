"""Data that stay where they lie, and are read as they are needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.data.blocks import (
    AbstractBlocks,
    ArrayBlocks,
    ItemBlocks,
    JoinedBlocks,
    NpyBlocks,
)
from flowjax_lite.data.dataset import Split
from flowjax_lite.data.parquet_file import ParquetBlocks
from flowjax_lite.data.paths import check_path, file_errors
from flowjax_lite.data.splits import join, take_rows
from flowjax_lite.data.table import divide_columns

_LEAST_MIXED = 64  # blocks that come together in a buffer, so that its rows are a mixture


@dataclass(frozen=True, eq=False)
class Stream:
    """Rows that are read a block at a time, for `fit`; opened by `stream`.

    Attributes:
        name: What messages call the data.
        blocks: Where the rows lie.
        x_columns: Positions of the columns that make x.
        condition_columns: Positions of those that make the condition; empty without one.
        buffer: Rows that are held in memory and shuffled together.
    """

    name: str
    blocks: AbstractBlocks
    x_columns: tuple[int, ...]
    condition_columns: tuple[int, ...]
    buffer: int

    def __len__(self) -> int:
        return int(self.blocks.sizes.sum())

    def read(self, block: int) -> Split:
        """Read a block, in the type that the source has.

        Raises:
            ValueError: It cannot be read.
        """
        dim = len(self.x_columns)
        values = self.blocks.read(block, (*self.x_columns, *self.condition_columns))
        return Split(values[:, :dim], values[:, dim:] if self.condition_columns else None)

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
        order = random.permutation(len(self.blocks.sizes))
        enough = int(np.searchsorted(np.cumsum(self.blocks.sizes[order]), num)) + 1
        chosen = order[: max(enough, _LEAST_MIXED)]
        counts = random.multivariate_hypergeometric(
            self.blocks.sizes[chosen], num, method="marginals"
        )
        parts = []
        for block, count in zip(chosen, counts, strict=True):
            split = self.read(int(block))
            rows = random.permutation(len(split))[:count]
            parts.append(take_rows(split.x, split.condition, rows))
        together = join(*parts)
        return take_rows(together.x, together.condition, random.permutation(num))


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
            columns; a memory-mapped array `(n, d)`; or any source with a length and items, such
            as those of Grain and its `MapDataset`, each item a row `(d,)`, a batch of rows
            `(n, d)`, or a pair of that and its condition `(c,)` or `(n, c)`. Batches cost Python
            less: where single rows are read slowly, give the source some hundred at a time.
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
    name, blocks = _open(source, buffer)
    if condition_columns is None and blocks.num_conditions:
        condition_columns = blocks.columns[-blocks.num_conditions :]
    with file_errors(Path(name)):
        of_x, of_condition = divide_columns(columns, condition_columns, blocks.columns)
    return Stream(name, blocks, of_x, of_condition, buffer)


def _open(source: Any, buffer: int) -> tuple[str, AbstractBlocks]:
    """What messages call a source, and its blocks."""
    mixed = max(1, buffer // _LEAST_MIXED)
    if isinstance(source, str | PathLike):
        return str(source), _open_file(Path(source), mixed)
    if isinstance(source, list | tuple) and source and isinstance(source[0], str | PathLike):
        name = f"{source[0]} and {len(source) - 1} more"
        with file_errors(Path(name)):
            return name, JoinedBlocks([_open_file(Path(path), mixed) for path in source])
    if isinstance(source, np.ndarray):
        if source.ndim != 2 or not source.size:
            raise ValueError(f"the array has shape {source.shape}; expected (n, d) with rows in it")
        return "data", ArrayBlocks(source, mixed)
    if hasattr(source, "__len__") and hasattr(source, "__getitem__"):
        return f"the {type(source).__name__}", ItemBlocks(source, mixed)
    raise TypeError(
        f"the source is a {type(source).__name__}; expected a path, a list of paths, an array, or "
        "a source with a length and items, such as those of Grain"
    )


def _open_file(path: Path, mixed: int) -> AbstractBlocks:
    check_path(path)
    with file_errors(path):
        if path.suffix.lower() == ".parquet":
            return ParquetBlocks(path)
        if path.suffix.lower() == ".npy":
            return NpyBlocks(path, mixed)
    raise ValueError(
        f"{path}: the ending {path.suffix!r} cannot be read a block at a time. Convert the file to "
        ".npy or .parquet, or read it whole with read_table."
    )
