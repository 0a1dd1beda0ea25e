"""Rows of numbers, as read from a file, and the words for what can be wrong with them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from flowjax_lite.core.checks import listed, suggest

_MOST_NAMED = 20
_MAX_COLUMNS = 1_000_000
_FREE_BYTES = 2**26
_MAX_RATIO = 200  # of the bytes that a file unpacks to and its own


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of numbers, or events of more than one axis, such as images.

    Args:
        values: `(n, d)` or `(n, *event_shape)`. The type is that of the file, so that whole
            numbers can be told from continuous ones; csv files give float64.
        columns: Names of the d columns: those of the file, else `x0`, `x1`, ...; empty for events
            of more than one axis.
        image_shape: (height, width) where each row is a flattened image.
    """

    values: np.ndarray
    columns: tuple[str, ...]
    image_shape: tuple[int, int] | None = None


class TableError(ValueError):
    """What is wrong inside a table and how to mend it; `naming` puts the table's name before."""


@contextmanager
def naming(title: object) -> Iterator[None]:
    """Put what a table is called before what is wrong with it."""
    try:
        yield
    except TableError as error:
        raise ValueError(f"{title}: {error}") from error


def table_from_array(values: np.ndarray, columns: Sequence[str] | None) -> Table:
    """Make a table of an array without column names.

    Args:
        values: `(n, d)` or `(n, *event_shape)`, or `(n,)` for one column, of real numbers.
        columns: Names of the columns to keep, of `x0`, `x1`, ...; all by default.

    Returns:
        The table.

    Raises:
        TableError: The array has another rank or type, or lacks a column.
    """
    check_numbers(values.shape, values.dtype)
    if values.ndim > 2:
        if columns is not None:
            raise TableError(f"holds events of shape {values.shape[1:]} without columns to choose.")
        return Table(values, ())
    values = values[:, None] if values.ndim == 1 else values
    names = numbered("x", values.shape[1])
    if columns is None:
        return Table(values, names)
    return Table(values[:, column_positions(columns, names)], tuple(columns))


def check_unpacked(num_bytes: int, packed: int) -> None:
    """Check what a packed file says that it unpacks to, before any memory is taken.

    Args:
        num_bytes: What it says.
        packed: The bytes of the packed file.

    Raises:
        TableError: More than 64 MiB and more than 200 times the file, as in a zip bomb.
    """
    if num_bytes > max(_FREE_BYTES, _MAX_RATIO * packed):
        raise TableError(
            f"says that its {packed} bytes unpack to {num_bytes}; expected at most {_MAX_RATIO} "
            f"times as many, or {_FREE_BYTES}. If you trust it, unpack it yourself first and give "
            "that file."
        )


def check_numbers(shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Check that an array holds real numbers, `(n, d)` or `(n, *event_shape)`, or `(n,)`.

    Raises:
        TableError: It is of another type or a scalar, or has more than a million columns.
    """
    if dtype.kind not in "fiub":
        raise TableError(f"holds values of type {dtype}; expected real numbers. Convert them.")
    if not shape:
        raise TableError("holds a single number; expected (n, d), a row for each event.")
    if len(shape) == 2 and shape[1] > _MAX_COLUMNS:  # each gets a name, longer than a number
        raise TableError(
            f"has {shape[1]} columns; expected at most {_MAX_COLUMNS}, with a row for each event. "
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
    counts, positions = Counter(names), {name: i for i, name in enumerate(names)}
    wanted = names if columns is None else columns
    for column in wanted:
        if column not in counts:
            shown = listed(names, most=_MOST_NAMED) or "none"
            raise TableError(f"has no column {column!r}.{suggest(column, names)} It has {shown}.")
        if counts[column] > 1:
            raise TableError(f"has several columns {column!r}. Rename all but one.")
    return [positions[column] for column in wanted]


def numbered(prefix: str, num: int) -> tuple[str, ...]:
    """Name columns by their numbers: `x0`, `x1`, ...

    Args:
        prefix: What stands before the number.
        num: How many names.

    Returns:
        The names.
    """
    return tuple(f"{prefix}{i}" for i in range(num))


def divide_columns(
    columns: Sequence[str] | None, condition_columns: Sequence[str] | None, names: Sequence[str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Find the columns that make x and those that make the condition.

    Args:
        columns: Names of the former; None takes all that are left.
        condition_columns: Names of the latter, if any.
        names: Names there are.

    Returns:
        Positions in `names` of the former and of the latter, in the orders asked for.

    Raises:
        TableError: A name is not there, there more than once, or asked for as both; or nothing is
            left for x.
    """
    both = [column for column in columns or () if column in (condition_columns or ())]
    if both:
        raise TableError(
            f"is asked for {', '.join(both)} both as data and as condition; a column is either. "
            "Take it out of columns or of condition_columns."
        )
    of_condition = column_positions(condition_columns or (), names)
    of_x = column_positions(columns, names)
    if columns is None:
        of_x = [i for i in of_x if i not in of_condition]
    if not of_x:
        raise TableError("has no column left for the data: condition_columns takes every column.")
    return tuple(of_x), tuple(of_condition)
