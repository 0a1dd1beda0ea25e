"""Rows: putting them together, and reading and writing plain tables of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import flowjax_lite as fl
from flowjax_lite.cli.errors import CommandError
from flowjax_lite.cli.run.directory import check_target
from flowjax_lite.core.files import writing_whole

SUFFIXES = (".npy", ".csv")


def check_out(path: Path, *, overwrite: bool) -> None:
    """Check that a table can be written to a path.

    Raises:
        CommandError: The ending is not supported, or the file exists or cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise CommandError(
            f"{path} ends in {path.suffix!r}: give a name in {' or '.join(SUFFIXES)}"
        )
    check_target(path, overwrite=overwrite, is_file=True)


def write(path: Path, values: np.ndarray, *, columns: Sequence[str]) -> None:
    """Write rows `(n, d)` as `.npy`, or as `.csv` with a line of column names, whole or not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing_whole(path) as file:
        if path.suffix == ".npy":
            np.save(file, values)
        else:
            quoted = ['"' + column.replace('"', '""') + '"' for column in columns]
            header = ",".join(quoted)
            np.savetxt(file, values, delimiter=",", fmt="%.9g", header=header, comments="")


def read(path: str | Path, *, columns: Sequence[str], array: str | None = None) -> fl.data.Table:
    """Read columns of a file, all of them finite numbers.

    Args:
        path: The file, of any kind that `fl.data.read_table` reads.
        columns: The columns, by the names that the flow was trained with.
        array: The array of an `.npz` file.

    Returns:
        The table; its values are floats, unless they are the bytes of images.

    Raises:
        ValueError: The file cannot be read, lacks a column or has a cell that is not finite.
    """
    table = fl.data.read_table(path, columns=columns, array=array)
    with np.errstate(over="ignore"):  # what overflows in the flow's precision is found below
        bad = np.argwhere(~np.isfinite(table.values.astype(np.float32)))
    if len(bad):
        row, column = bad[0]
        raise CommandError(
            f"{path}: row {row} (counted from 0), column {table.columns[column]!r} holds "
            f"{table.values[row, column]}, which is not finite in float32: remove or repair it"
        )
    return table
