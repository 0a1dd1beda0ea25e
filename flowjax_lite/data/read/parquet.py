"""Reading parquet files, with pyarrow."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from flowjax_lite.core.extra import import_extra
from flowjax_lite.data.read.table import Table, TableError, check_unpacked, column_positions

_CELL_BYTES = 8  # at most, of a number


class Parquet:
    """A parquet file, which is read whole or one row group at a time.

    Args:
        path: The file.

    Attributes:
        columns: Names of the columns.
        sizes: Number of rows of each row group.

    Raises:
        ImportError: There is no pyarrow.
        TableError: The file is damaged, or two columns have one name.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._metadata = path, None
        with self._open() as file:
            self._metadata, self._schema = file.metadata, file.schema_arrow
        self.columns = tuple(self._schema.names)
        column_positions(self.columns, self.columns)
        groups = range(self._metadata.num_row_groups)
        self.sizes = [self._metadata.row_group(group).num_rows for group in groups]

    def read(self, columns: Sequence[str], groups: Sequence[int]) -> np.ndarray:
        """Read columns of numbers, `(n, len(columns))`, of a type that holds all of them.

        Raises:
            TableError: The file is damaged or would unpack to far more than it holds, or a column
                does not hold numbers.
        """
        types = import_extra("pyarrow", "data").types

        def check(name: str, are_numbers: bool) -> None:
            if not are_numbers:
                raise TableError(
                    f"column {name!r} is of type {self._schema.field(name).type}; expected numbers."
                    " Leave it out with columns=..., or convert it."
                )

        for name in columns:
            kind = self._schema.field(name).type
            is_flag = types.is_boolean(kind)
            check(name, is_flag or types.is_integer(kind) or types.is_floating(kind))
        arrays = self.read_columns(columns, groups)
        for name, values in arrays.items():  # flags with gaps are objects
            check(name, values.dtype.kind in "fiub")
        # Side by side at once, with a cell of each column in turn, would take three times as long.
        return np.ascontiguousarray(np.stack([*arrays.values()]).T) if arrays else np.empty((0, 0))

    def read_columns(self, columns: Sequence[str], groups: Sequence[int]) -> dict[str, np.ndarray]:
        """Read columns of any type, by name; of words as objects, with None where one is missing.

        Raises:
            TableError: The file is damaged or would unpack to far more than it holds.
        """
        num_cells = len(columns) * sum(self.sizes[group] for group in groups)
        check_unpacked(_CELL_BYTES * num_cells, self._path.stat().st_size)
        with self._open() as file:
            table = file.read_row_groups(groups, columns)
            return {name: table.column(name).to_numpy() for name in columns}

    @contextmanager
    def _open(self) -> Iterator[Any]:
        parquet = import_extra("pyarrow.parquet", "data")
        try:
            with parquet.ParquetFile(self._path, metadata=self._metadata) as file:
                yield file
        except import_extra("pyarrow", "data").ArrowException as error:
            raise TableError(
                f"is cut short, damaged or no parquet file ({error}). Write it or fetch it again."
            ) from error


def read_parquet(path: Path, columns: Sequence[str] | None) -> Table:
    """Read columns of numbers.

    Args:
        path: The file.
        columns: Names of the columns to keep; all by default.

    Returns:
        The table; where columns differ in type, of a type that holds all of them.

    Raises:
        ImportError, TableError: As `Parquet`; or a column is missing.
    """
    file = Parquet(path)
    names = [file.columns[i] for i in column_positions(columns, file.columns)]
    return Table(file.read(names, range(len(file.sizes))), tuple(names))


def read_parquet_columns(path: Path) -> dict[str, np.ndarray]:
    """Read all columns, of numbers and of words, as `Parquet` does.

    Raises:
        ImportError, TableError: As `Parquet`.
    """
    file = Parquet(path)
    return file.read_columns(file.columns, range(len(file.sizes)))
