"""Reading csv files in one pass that knows the line and column of every mistake."""

import csv
import math
import warnings
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np

from flowjax_lite.data.quality.checks import DataWarning
from flowjax_lite.data.read.table import (
    Table,
    TableError,
    check_numbers,
    column_positions,
    numbered,
)

_MAX_LINE = 2**24  # characters: a million columns
_MISSING = {"", "?", "na", "n/a", "nan", "null", "none"}  # in lower case


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
    rows = _rows(path)
    _, names = next(rows)
    positions = column_positions(columns, names)
    numbers = array("d")
    for line, row in rows:
        for i in positions:
            number = _number(row[i])
            if number is None:
                raise TableError(
                    f"line {line}, column {names[i]!r} holds {row[i]!r}; expected a number. Mend "
                    "the cell, drop the row, or choose other columns; schema='auto' takes words "
                    "and blanks, too. Cells are separated by commas."
                )
            numbers.append(number)
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
    rows = _rows(path)
    _, names = next(rows)
    column_positions(names, names)
    lines, cells = [], []
    for line, row in rows:
        lines.append(line)
        cells.append([None if cell.strip().lower() in _MISSING else cell.strip() for cell in row])
    columns = {}
    for name, words in zip(names, zip(*cells, strict=True), strict=False):
        numbers = [math.nan if word is None else _number(word) for word in words]
        bad = [i for i, number in enumerate(numbers) if number is None]
        if bad and 2 * len(bad) < len(words) - words.count(None):
            raise TableError(
                f"line {lines[bad[0]]}, column {name!r} holds {words[bad[0]]!r} among numbers. "
                "Mend the cell or drop the row."
            )
        columns[name] = np.array(words, object) if bad else np.array(numbers, np.float64)
    return columns


def _rows(path: Path) -> Iterator[tuple[int, Sequence[str]]]:
    """The names of the columns, then the rows, each with the number of its last line."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(_lines(file))
        rows: Iterator[list[str]] = filter(None, reader)  # a blank line is an empty list
        first = next(rows, [])
        check_numbers((1, len(first)), np.dtype(float))
        names = tuple(cell.strip() for cell in first)
        is_number = [_number(cell) is not None for cell in first]
        if all(is_number):
            names, rows = numbered("x", len(first)), chain([first], rows)
        elif any(is_number):
            warnings.warn(
                f"{path}: the first row is taken for the names of the columns, because "
                f"{names[is_number.index(False)]!r} in it is no number, but {sum(is_number)} of "
                f"its {len(names)} cells are. If it holds data, mend that cell, or write a line of "
                "names above it.",
                DataWarning,
                stacklevel=4,
            )
        yield reader.line_num, names
        for row in rows:
            if len(row) != len(names):
                raise TableError(
                    f"line {reader.line_num} has {len(row)} cells; expected {len(names)}, as in "
                    "the first row. Mend that line."
                )
            yield reader.line_num, row


def _lines(file: TextIO) -> Iterator[str]:
    """The lines of a file, so that one without ends does not fill the memory."""
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise TableError(
                f"has a line of {_MAX_LINE} characters or more. Write a row on each line."
            )
        yield line


def _number(cell: str) -> float | None:
    """What a cell says, if it is a number; Python would take 12_3 for 123."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None
