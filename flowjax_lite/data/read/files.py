"""Reading a file by its path: whether it is there, its format, and words for its errors."""

import csv
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np

from flowjax_lite.core.checks import suggest
from flowjax_lite.data.read.binary import read_idx, read_npy, read_npz
from flowjax_lite.data.read.csv import read_csv, read_csv_columns
from flowjax_lite.data.read.parquet import read_parquet, read_parquet_columns
from flowjax_lite.data.read.table import Table, TableError

SUPPORTED = ".npy, .npz, .csv, .parquet, .idx, .idx.gz (or as train-images-idx3-ubyte.gz)"
_IDX_NAME = re.compile(r"[.-]idx(\d-ubyte)?(\.gz)?$")
_TABLES: dict[str, Callable[..., Table]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".idx": read_idx,
}
_WORDS = {".csv": read_csv_columns, ".parquet": read_parquet_columns}


def read_table(
    path: str | PathLike[str], *, columns: Sequence[str] | None = None, array: str | None = None
) -> Table:
    """Read a file of numbers; the end of its name says the format.

    A csv file has a header exactly if its first row is not all numbers. Of an idx file of images
    each image becomes a row; npy files may hold events of any shape. Pickled objects are never
    loaded.

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
    with reading(path):
        kind = ".idx" if _IDX_NAME.search(path.name.lower()) else path.suffix.lower()
        if kind not in _TABLES:
            raise TableError(
                f"the ending {kind!r} is not supported. Convert the file to one of {SUPPORTED}."
            )
        if kind == ".npz":
            table = read_npz(path, columns, array=array)
        elif array is not None:
            raise TableError(f"array={array!r} is for .npz files alone. Leave array out.")
        else:
            table = _TABLES[kind](path, columns)
        if table.values.size == 0:
            raise TableError("is empty: it holds no rows of numbers. Give a file with data.")
    return table


def read_columns(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """Read a csv or parquet file whose columns hold numbers or words, some perhaps missing.

    Args:
        path: The file.

    Returns:
        The columns by name; of words as objects, with None where one is missing.

    Raises:
        FileNotFoundError, IsADirectoryError, ImportError, ValueError: As `read_table`.
    """
    path = Path(path)
    with reading(path):
        read = _WORDS.get(path.suffix.lower())
        if read is None:
            raise TableError("words are read from .csv and .parquet files. Convert the file.")
        columns = read(path)
        if not columns or not len(next(iter(columns.values()))):
            raise TableError("is empty: it holds no rows. Give a file with data.")
    return columns


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Check that there is a file, and put its name before our messages and those of parsers.

    Raises:
        FileNotFoundError: Nothing is there; similar names are suggested.
        IsADirectoryError: The path is a folder.
        ValueError: The file is empty, or cannot be read.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder. Give a file in it: {SUPPORTED}.")
    if not path.exists():
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path}: there is no folder {path.parent}. Check the path.")
        near = suggest(path.name, [entry.name for entry in path.parent.iterdir()])
        raise FileNotFoundError(f"{path}: there is no such file.{near or ' Check the path.'}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: is empty (0 bytes). Write it or fetch it again.")
    try:
        yield
    except TableError as error:
        raise ValueError(f"{path}: {error}") from error
    except PermissionError:
        raise
    except (
        csv.Error,
        EOFError,
        NotImplementedError,
        OSError,
        OverflowError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(
            f"{path}: cannot be read as {path.suffix} ({error or type(error).__name__}). The file "
            "may be cut short, damaged or of another format; write it or fetch it again."
        ) from error
