"""A table of numbers, as read from a file, and the words for what can be wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flowjax_lite.numerics.shapes import suggest

_MOST_NAMED = 20
_MAX_COLUMNS = 1_000_000


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of numbers.

    Args:
        values: `(n, d)`. The type is that of the file, so that whole numbers can be told from
            continuous ones; csv files give float64.
        columns: Names of the d columns: those of the file, else `x0`, `x1`, ...
        image_shape: (height, width) where each row is an image.
    """

    values: np.ndarray
    columns: tuple[str, ...]
    image_shape: tuple[int, int] | None = None


class TableError(ValueError):
    """What is wrong inside a file and how to mend it; `read_table` puts the file's name before."""


def table_from_array(values: np.ndarray, columns: Sequence[str] | None) -> Table:
    """Make a table of an array without column names.

    Args:
        values: `(n, d)`, or `(n,)` for one column, of real numbers.
        columns: Names of the columns to keep, of `x0`, `x1`, ...; all by default.

    Returns:
        The table.

    Raises:
        TableError: The array has another rank or type, or lacks a column.
    """
    check_kind(values.dtype)
    if values.ndim not in (1, 2):
        raise TableError(
            f"holds an array of shape {values.shape}; expected (n, d), a row for each event. "
            "Reshape it before saving."
        )
    values = values.reshape(len(values), -1) if values.size else values.reshape(0, 1)
    check_num_columns(values.shape[1])
    names = numbered("x", values.shape[1])
    if columns is None:
        return Table(values, names)
    return Table(values[:, column_positions(columns, names)], tuple(columns))


def check_kind(dtype: np.dtype) -> None:
    """Check that a type is one of real numbers.

    Raises:
        TableError: It is not.
    """
    if dtype.kind not in "fiub":
        raise TableError(f"holds values of type {dtype}; expected real numbers. Convert them.")


def check_num_columns(num: int) -> None:
    """Check a number of columns, each of which gets a name that is longer than a number.

    Raises:
        TableError: There are more than a million.
    """
    if num > _MAX_COLUMNS:
        raise TableError(
            f"has {num} columns; expected at most {_MAX_COLUMNS}, with a row for each event. "
            "Transpose or divide it."
        )


def column_positions(columns: Sequence[str] | None, names: Sequence[str]) -> list[int]:
    """Find columns by name.

    Args:
        columns: Names asked for; None asks for all.
        names: Names there are.

    Returns:
        Positions in `names`, in the order asked for.

    Raises:
        TableError: A name is not there, or there more than once.
    """
    if columns is None:
        return list(range(len(names)))
    for column in columns:
        if column not in names:
            shown = ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
            raise TableError(f"has no column {column!r}.{suggest(column, names)} It has {shown}.")
        if names.count(column) > 1:
            raise TableError(f"has several columns {column!r}. Rename all but one.")
    return [names.index(column) for column in columns]


def numbered(prefix: str, num: int) -> tuple[str, ...]:
    """Name columns by their numbers: `x0`, `x1`, ...

    Args:
        prefix: What stands before the number.
        num: How many names.

    Returns:
        The names.
    """
    return tuple(f"{prefix}{i}" for i in range(num))
