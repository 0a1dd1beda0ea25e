"""Reading parquet files, with pyarrow."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from flowjax_lite.data.extra import import_extra
from flowjax_lite.data.read.limits import check_unpacked
from flowjax_lite.data.read.table import Table, TableError, column_positions

_CELL_BYTES = 8  # at most, of a number


def read_parquet(path: Path, columns: Sequence[str] | None) -> Table:
    """Read columns of numbers.

    Args:
        path: The file.
        columns: Names of the columns to keep; all by default.

    Returns:
        The table; where columns differ in type, of a type that holds all of them.

    Raises:
        ImportError: There is no pyarrow.
        TableError: The file is damaged or would unpack to far more than it holds; a column is
            missing or does not hold numbers.
    """
    with _open(path) as file:
        schema, num_rows = file.schema_arrow, file.metadata.num_rows
        positions = column_positions(columns, schema.names)
        _check_types(schema, positions)
        check_unpacked(_CELL_BYTES * num_rows * len(positions), path.stat().st_size)
        values = _values(file.read(columns), positions if columns is None else columns)
    return Table(values, tuple(schema.names[i] for i in positions))


def read_parquet_columns(path: Path) -> dict[str, np.ndarray]:
    """Read columns of numbers and of words.

    Args:
        path: The file.

    Returns:
        The columns by name; of words as objects, with None where one is missing.

    Raises:
        ImportError: There is no pyarrow.
        TableError: The file is damaged or would unpack to far more than it holds, or two columns
            have one name.
    """
    with _open(path) as file:
        names = file.schema_arrow.names
        column_positions(names, names)
        check_unpacked(_CELL_BYTES * file.metadata.num_rows * len(names), path.stat().st_size)
        table = file.read()
        return {name: table.column(name).to_numpy() for name in names}


class RowGroups:
    """A parquet file that is read one row group at a time.

    Args:
        path: The file.

    Attributes:
        columns: Names of the columns.
        sizes: Number of rows of each group.

    Raises:
        ImportError: There is no pyarrow.
        TableError: The file is damaged, or would unpack to far more than it holds.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _open(path) as file:
            self._metadata, self._schema = file.metadata, file.schema_arrow
        self.columns = tuple(self._schema.names)
        groups = range(self._metadata.num_row_groups)
        self.sizes = [self._metadata.row_group(group).num_rows for group in groups]
        most = _CELL_BYTES * max(self.sizes, default=0) * len(self.columns)
        check_unpacked(most, path.stat().st_size)

    def read(self, group: int, columns: Sequence[int]) -> np.ndarray:
        """Read columns of one group, `(rows, len(columns))`, by their positions."""
        _check_types(self._schema, columns)
        names = [self.columns[i] for i in columns]
        with _open(self._path, metadata=self._metadata) as file:
            return _values(file.read_row_group(group, names), names)


@contextmanager
def _open(path: Path, **known: Any) -> Iterator[Any]:
    parquet = import_extra("pyarrow.parquet")
    try:
        with parquet.ParquetFile(path, **known) as file:
            yield file
    except import_extra("pyarrow").ArrowException as error:
        raise TableError(
            f"is cut short, damaged or no parquet file ({error}). Write it or fetch it again."
        ) from error


def _check_types(schema: Any, positions: Sequence[int]) -> None:
    is_primitive, types = import_extra("pyarrow").types.is_primitive, schema.types
    for i in positions:
        if not is_primitive(types[i]):
            raise _no_numbers(schema.field(i))


def _values(table: Any, keys: Sequence[int] | Sequence[str]) -> np.ndarray:
    """Columns side by side, of a type that holds all of them."""
    arrays = [table.column(key).to_numpy() for key in keys]
    for key, values in zip(keys, arrays, strict=True):
        if values.dtype.kind not in "fiub":
            raise _no_numbers(table.schema.field(key))
    # Side by side at once, with a cell of each column in turn, would take three times as long.
    return np.ascontiguousarray(np.stack(arrays).T) if arrays else np.empty((0, 0))


def _no_numbers(field: Any) -> TableError:
    return TableError(
        f"column {field.name!r} is of type {field.type}; expected numbers. Leave it out with "
        "columns=..., or convert it."
    )
