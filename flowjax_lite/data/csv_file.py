"""Reading csv files in one pass that knows the line and column of every mistake."""

import csv
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np

from flowjax_lite.data.table import (
    Table,
    TableError,
    check_num_columns,
    column_positions,
    numbered,
)

_MAX_LINE = 2**24  # characters: a million columns


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
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(_lines(file))
        rows: Iterator[list[str]] = filter(None, reader)  # a blank line is an empty list
        first = next(rows, [])
        check_num_columns(len(first))
        if _are_numbers(first):
            names = numbered("x", len(first))
            rows = chain([first], rows)
        else:
            names = tuple(cell.strip() for cell in first)
        positions = column_positions(columns, names)
        numbers = array("d")
        for row in rows:
            if len(row) != len(names):
                raise TableError(
                    f"line {reader.line_num} has {len(row)} cells; expected {len(names)}, as in "
                    "the first row. Mend that line."
                )
            cells = [row[i] for i in positions]
            try:
                numbers.extend(_numbers(cells))
            except ValueError:
                bad = next(i for i in positions if not _are_numbers([row[i]]))
                raise TableError(
                    f"line {reader.line_num}, column {names[bad]!r} holds {row[bad]!r}; expected "
                    "a number. Mend the cell, drop the row, or choose other columns. Cells are "
                    "separated by commas."
                ) from None
    values = np.asarray(numbers).reshape(-1, max(1, len(positions)))
    return Table(values, tuple(names[i] for i in positions))


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
