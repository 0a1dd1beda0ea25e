"""What can be said of a file by its path, and the words for what its parsers find."""

import csv
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowjax_lite.core.checks import suggest
from flowjax_lite.data.table import TableError

SUPPORTED = ".npy, .npz, .csv, .parquet, .idx, .idx.gz (or as train-images-idx3-ubyte.gz)"


def check_path(path: Path) -> None:
    """Check that there is a file with bytes in it.

    Raises:
        FileNotFoundError: Nothing is there; similar names are suggested.
        IsADirectoryError: The path is a folder.
        ValueError: The file is empty.
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


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
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
        OverflowError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(
            f"{path}: cannot be read as {path.suffix} ({error or type(error).__name__}). The file "
            "may be cut short, damaged or of another format; write it or fetch it again."
        ) from error
