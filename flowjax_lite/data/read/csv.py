"""Reading csv files in one pass that knows the line and column of every mistake."""

import csv
import warnings
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np

from flowjax_lite.data.quality import DataWarning
from flowjax_lite.data.read.table import (
    Table,
    TableError,
    check_num_columns,
    column_positions,
    numbered,
)

_MAX_LINE = 2**24  # characters: a million columns
_MISSING = {"", "?", "na", "n/a", "nan", "null", "none"}  # in lower case

_Rows = Iterator[tuple[int, list[str]]]  # with the number of their last line


def read_csv(path: Path, columns: Sequence[str] | None) -> Table:
    """Read numbers separated by commas.

    Args:
        path: The file, in UTF-8. Its first row is a header exactly if it is not all numbers.
        columns: Names of the columns to keep; all by default.

    Returns:
        The table, float64.

    Raises:
        TableError: A column is missing, a row has too few or too many cells, or a cell is not a
            number.
    """
    with _open(path) as (names, rows):
        positions = column_positions(columns, names)
        numbers = array("d")
        for line, row in rows:
            try:
                numbers.extend(_numbers([row[i] for i in positions]))
            except ValueError:
                bad = next(i for i in positions if not _are_numbers([row[i]]))
                raise TableError(
                    f"line {line}, column {names[bad]!r} holds {row[bad]!r}; expected a number. "
                    "Mend the cell, drop the row, or choose other columns; schema='auto' takes "
                    "words and blanks, too. Cells are separated by commas."
                ) from None
    values = np.asarray(numbers).reshape(-1, max(1, len(positions)))
    return Table(values, tuple(names[i] for i in positions))


def read_csv_columns(path: Path) -> dict[str, np.ndarray]:
    """Read columns of numbers and of words.

    Blank cells and NA, NaN, null, None and ? are missing: NaN among numbers, None among words.

    Args:
        path: The file, as for `read_csv`.

    Returns:
        The columns by name: float64 where all cells but missing ones are numbers, else words.

    Raises:
        TableError: A row has too few or too many cells, two columns have one name, or most cells
            of a column are numbers and some are not.
    """
    with _open(path) as (names, rows):
        column_positions(names, names)
        lines, cells = [], []
        for line, row in rows:
            lines.append(line)
            cells.append([cell.strip() for cell in row])
    return {
        name: _column(name, list(column), lines)
        for name, column in zip(names, zip(*cells, strict=True), strict=False)
    }


def _column(name: str, cells: list[str], lines: list[int]) -> np.ndarray:
    words = [None if cell.lower() in _MISSING else cell for cell in cells]
    is_number = [word is not None and _are_numbers([word]) for word in words]
    num_words = sum(word is not None for word in words)
    if sum(is_number) == num_words:
        return np.array([np.nan if word is None else float(word) for word in words])
    if sum(is_number) > num_words / 2:
        bad = next(i for i, word in enumerate(words) if word is not None and not is_number[i])
        raise TableError(
            f"line {lines[bad]}, column {name!r} holds {words[bad]!r} among numbers. Mend the cell "
            "or drop the row."
        )
    return np.array(words, object)


@contextmanager
def _open(path: Path) -> Iterator[tuple[tuple[str, ...], _Rows]]:
    """The names of the columns, and the rows."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(_lines(file))
        rows: Iterator[list[str]] = filter(None, reader)  # a blank line is an empty list
        first = next(rows, [])
        check_num_columns(len(first))
        names = tuple(cell.strip() for cell in first)
        if _are_numbers(first):
            names, rows = numbered("x", len(first)), chain([first], rows)
        elif numbers := [cell for cell in names if _are_numbers([cell])]:
            word = next(cell for cell in names if not _are_numbers([cell]))
            warnings.warn(
                f"{path}: the first row is taken for the names of the columns, because {word!r} in "
                f"it is no number, but {len(numbers)} of its {len(names)} cells are. If it holds "
                "data, mend that cell, or write a line of names above it.",
                DataWarning,
                stacklevel=4,
            )

        def checked() -> _Rows:
            for row in rows:
                if len(row) != len(names):
                    raise TableError(
                        f"line {reader.line_num} has {len(row)} cells; expected {len(names)}, as "
                        "in the first row. Mend that line."
                    )
                yield reader.line_num, row

        yield names, checked()


def _lines(file: TextIO) -> Iterator[str]:
    """The lines of a file, so that one without ends does not fill the memory."""
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise TableError(
                f"has a line of {_MAX_LINE} characters or more. Write a row on each line."
            )
        yield line


def _numbers(cells: list[str]) -> Iterator[float]:
    if "_" in "".join(cells):
        raise ValueError("Python would take 12_3 for 123")
    return map(float, cells)


def _are_numbers(cells: list[str]) -> bool:
    try:
        list(_numbers(cells))
    except ValueError:
        return False
    return True
