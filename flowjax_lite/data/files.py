"""Reading tables of numbers: npy, npz, csv, parquet and idx files."""

import csv
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np

from flowjax_lite.data.csv_file import read_csv
from flowjax_lite.data.extra import import_extra
from flowjax_lite.data.idx_file import read_idx
from flowjax_lite.data.table import Table, TableError, column_positions, table_from_array
from flowjax_lite.numerics.shapes import suggest

_SUPPORTED = ".npy, .npz, .csv, .parquet, .idx, .idx.gz (or as train-images-idx3-ubyte.gz)"
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
    _check_path(path)
    read = _reader(path, array)
    with _file_errors(path):
        table = read(path, columns)
        if table.values.size == 0:
            raise TableError("is empty: it holds no rows of numbers. Give a file with data.")
    return table


def _check_path(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder. Give a file in it: {_SUPPORTED}.")
    if not path.exists():
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path}: there is no folder {path.parent}. Check the path.")
        near = suggest(path.name, [entry.name for entry in path.parent.iterdir()])
        raise FileNotFoundError(f"{path}: there is no such file.{near or ' Check the path.'}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: is empty (0 bytes). Write it or fetch it again.")


def _reader(path: Path, array: str | None) -> Callable[[Path, Sequence[str] | None], Table]:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return partial(_read_npz, array=array)
    if array is not None:
        raise ValueError(f"{path}: array={array!r} is for .npz files alone. Leave array out.")
    if _IDX_NAME.search(path.name.lower()):
        return read_idx
    readers = {".npy": _read_npy, ".csv": read_csv, ".parquet": _read_parquet}
    if suffix not in readers:
        raise ValueError(
            f"{path}: the ending {suffix!r} is not supported. Convert the file to one of "
            f"{_SUPPORTED}."
        )
    return readers[suffix]


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Put the file's name before our own messages and around those of the parsers."""
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
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(
            f"{path}: cannot be read as {path.suffix} ({error or type(error).__name__}). The file "
            "may be cut short, damaged or of another format; write it or fetch it again."
        ) from error


def _read_npy(path: Path, columns: Sequence[str] | None) -> Table:
    with path.open("rb") as file:
        return table_from_array(np.lib.format.read_array(file, allow_pickle=False), columns)


def _read_npz(path: Path, columns: Sequence[str] | None, *, array: str | None) -> Table:
    if not zipfile.is_zipfile(path):
        raise TableError("is cut short or not an npz file. Write it or fetch it again.")
    with np.load(path, allow_pickle=False) as arrays:
        names = arrays.files
        if array is None and len(names) == 1:
            array = names[0]
        if array is None or array not in names:
            problem = f"holds {len(names)} arrays" if array is None else f"has no array {array!r}"
            raise TableError(
                f"{problem}.{suggest(array or '', names)} Choose one with array=NAME, of: "
                f"{', '.join(f'{name} {arrays[name].shape}' for name in names)}."
            )
        return table_from_array(arrays[array], columns)


def _read_parquet(path: Path, columns: Sequence[str] | None) -> Table:
    table = import_extra("pyarrow.parquet").read_table(path)
    names = table.column_names
    positions = column_positions(columns, names)
    arrays = [table.column(i).to_numpy() for i in positions]
    for i, values in zip(positions, arrays, strict=True):
        if values.dtype.kind not in "fiub":
            raise TableError(
                f"column {names[i]!r} is of type {table.schema.field(i).type}; expected numbers. "
                "Leave it out with columns=..., or convert it."
            )
    values = np.column_stack(arrays) if arrays else np.empty((0, 0))
    return Table(values, tuple(names[i] for i in positions))
