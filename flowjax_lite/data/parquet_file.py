"""Reading parquet files, with pyarrow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowjax_lite.data.extra import import_extra
from flowjax_lite.data.limits import check_unpacked
from flowjax_lite.data.table import Table, TableError, column_positions

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
    parquet, pyarrow = import_extra("pyarrow.parquet"), import_extra("pyarrow")
    try:
        with parquet.ParquetFile(path) as file:
            schema, num_rows = file.schema_arrow, file.metadata.num_rows
            positions = column_positions(columns, schema.names)
            for i in positions:
                if not pyarrow.types.is_primitive(schema.types[i]):
                    raise _no_numbers(schema.field(i))
            check_unpacked(_CELL_BYTES * num_rows * len(positions), path.stat().st_size)
            keys = positions if columns is None else columns
            table = file.read(columns)
            arrays = [table.column(key).to_numpy() for key in keys]
    except pyarrow.ArrowException as error:
        raise TableError(
            f"is cut short, damaged or no parquet file ({error}). Write it or fetch it again."
        ) from error
    for i, values in zip(positions, arrays, strict=True):
        if values.dtype.kind not in "fiub":
            raise _no_numbers(schema.field(i))
    values = np.column_stack(arrays) if arrays else np.empty((0, 0))
    return Table(values, tuple(schema.names[i] for i in positions))


def _no_numbers(field: Any) -> TableError:
    return TableError(
        f"column {field.name!r} is of type {field.type}; expected numbers. Leave it out with "
        "columns=..., or convert it."
    )
