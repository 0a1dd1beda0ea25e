"""Reading tables of numbers: npy, npz, csv, parquet and idx files."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path

from flowjax_lite.data.csv_file import read_csv
from flowjax_lite.data.idx_file import read_idx
from flowjax_lite.data.npy_file import read_npy, read_npz
from flowjax_lite.data.parquet_file import read_parquet
from flowjax_lite.data.paths import SUPPORTED, check_path, file_errors
from flowjax_lite.data.table import Table, TableError

_IDX_NAME = re.compile(r"[.-]idx(\d-ubyte)?(\.gz)?$")


def read_table(
    path: str | PathLike[str], *, columns: Sequence[str] | None = None, array: str | None = None
) -> Table:
    """Read a file of numbers; the end of its name says the format.

    A csv file has a header exactly if its first row is not all numbers. Of an idx file of images
    each image becomes a row. Pickled objects are never loaded.

    Args:
        path: The file.
        columns: Names of the columns to keep, in this order; all by default. Columns of files
            that name none are called `x0`, `x1`, ...
        array: Name of the array in an npz file that holds more than one.

    Returns:
        The table.

    Raises:
        FileNotFoundError: Nothing is there; similar names are suggested.
        IsADirectoryError: The path is a folder.
        ImportError: A parquet file without pyarrow.
        ValueError: The format is not supported, the file is damaged, or it does not hold the
            columns or numbers asked for.
    """
    path = Path(path)
    check_path(path)
    read = _reader(path, array)
    with file_errors(path):
        table = read(path, columns)
        if table.values.size == 0:
            raise TableError("is empty: it holds no rows of numbers. Give a file with data.")
    return table


def _reader(path: Path, array: str | None) -> Callable[[Path, Sequence[str] | None], Table]:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return partial(read_npz, array=array)
    if array is not None:
        raise ValueError(f"{path}: array={array!r} is for .npz files alone. Leave array out.")
    if _IDX_NAME.search(path.name.lower()):
        return read_idx
    readers = {".npy": read_npy, ".csv": read_csv, ".parquet": read_parquet}
    if suffix not in readers:
        raise ValueError(
            f"{path}: the ending {suffix!r} is not supported. Convert the file to one of "
            f"{SUPPORTED}."
        )
    return readers[suffix]
