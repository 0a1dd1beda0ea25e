"""Reading npy files and npz archives, whose headers are not to be trusted."""

import io
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from flowjax_lite.core.checks import suggest
from flowjax_lite.data.read.limits import check_unpacked, read_at_most
from flowjax_lite.data.read.table import (
    Table,
    TableError,
    check_kind,
    check_shape,
    table_from_array,
)

_MAX_HEADER = 10_000
_MOST_NAMED = 20
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    # It differs in the names of fields, which no table has.
    (3, 0): np.lib.format.read_array_header_2_0,
}


def read_npy(path: Path, columns: Sequence[str] | None) -> Table:
    """Read an npy file.

    Args:
        path: The file.
        columns: Names of the columns to keep, of `x0`, `x1`, ...; all by default.

    Returns:
        The table, with the type of the file.

    Raises:
        TableError: The file is damaged, or does not hold rows of real numbers.
    """
    with path.open("rb") as file:
        return table_from_array(_read_array(file, path.stat().st_size), columns)


def open_npy(path: Path) -> tuple[tuple[int, ...], np.dtype, int]:
    """Look at an npy file whose rows are to be read one after the other.

    Args:
        path: The file.

    Returns:
        Its shape `(n, *event_shape)`, its type, and the byte at which its numbers begin.

    Raises:
        TableError: The file is damaged, or holds no rows of real numbers in C order.
    """
    with path.open("rb") as file:
        shape, is_fortran, dtype, start = _checked_header(file, path.stat().st_size)
    check_shape(shape)
    if not math.prod(shape):
        raise TableError("is empty: it holds no rows of numbers. Give a file with data.")
    if is_fortran and sum(size > 1 for size in shape) > 1:
        raise TableError(
            "holds its columns one after the other (Fortran order), and is to be read by rows. "
            "Write it again with np.ascontiguousarray."
        )
    return shape if len(shape) > 1 else (*shape, 1), dtype, start


def read_npz(path: Path, columns: Sequence[str] | None, *, array: str | None) -> Table:
    """Read one array of an npz archive.

    Args:
        path: The file.
        columns: Names of the columns to keep, of `x0`, `x1`, ...; all by default.
        array: Name of the array; needed where there are several.

    Returns:
        The table, with the type of the file.

    Raises:
        TableError: The file is damaged, there is no such array, or it would unpack to far more
            than the file holds.
    """
    if not zipfile.is_zipfile(path):
        raise TableError("is cut short or not an npz file. Write it or fetch it again.")
    with zipfile.ZipFile(path) as archive:
        entries = {
            entry.filename.removesuffix(".npy"): entry
            for entry in archive.infolist()
            if entry.filename.endswith(".npy")
        }
        if array is None and len(entries) == 1:
            (array,) = entries
        if array is None or array not in entries:
            problem = f"holds {len(entries)} arrays" if array is None else f"has no array {array!r}"
            raise TableError(
                f"{problem}.{suggest(array or '', list(entries))} Choose one with array=NAME, of: "
                f"{_described(archive, entries)}."
            )
        entry = entries[array]
        check_unpacked(entry.file_size, path.stat().st_size)
        with _open(archive, entry) as file:
            return table_from_array(_read_array(file, entry.file_size), columns)


def _open(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> IO[bytes]:
    is_plain = entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if not is_plain or entry.flag_bits & 1:
        raise TableError("is encrypted or packed in another way than numpy's. Write it again.")
    return archive.open(entry)


def _described(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo]) -> str:
    words = []
    for name, entry in list(entries.items())[:_MOST_NAMED]:
        with _open(archive, entry) as file:
            words.append(f"{name} {_read_header(file)[0]}")
    return ", ".join(words) + (", ..." if len(entries) > _MOST_NAMED else "")


def _read_array(file: IO[bytes], size: int) -> np.ndarray:
    """The array of an open file of that many bytes, if its header agrees with them."""
    shape, is_fortran, dtype, start = _checked_header(file, size)
    expected = size - start
    raw = read_at_most(file, expected)
    if len(raw) != expected:
        raise TableError(f"ends after {len(raw)} of {expected} bytes. Write it or fetch it again.")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if is_fortran else "C")


def _checked_header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """The header, as `_read_header` has it, if it agrees with the number of bytes."""
    shape, is_fortran, dtype, start = _read_header(file)
    check_kind(dtype)
    expected = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or expected != size - start:
        raise TableError(
            f"is damaged or cut short: it holds {size - start} bytes of numbers, but the shape "
            f"{shape} and type {dtype} in its header need {expected}. Write it or fetch it again."
        )
    return shape, is_fortran, dtype, start


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """The shape, whether it is in Fortran order, the type, and the bytes read until there."""
    start = file.read(10)
    if not start.startswith(np.lib.format.MAGIC_PREFIX):
        raise TableError("is cut short, damaged or no npy file. Write it or fetch it again.")
    if start[6:7] > b"\1":  # later versions, with a longer number
        start += file.read(2)
    length = int.from_bytes(start[8:], "little")
    if length > _MAX_HEADER:
        raise TableError(f"has a header of {length} bytes; expected at most {_MAX_HEADER}.")
    whole = io.BytesIO(start + file.read(length))
    try:
        read = _HEADER_READERS[np.lib.format.read_magic(whole)]
        shape, is_fortran, dtype = read(whole)
    except Exception as error:  # a header is a Python literal, which can be wrong in many ways
        raise TableError(
            f"is cut short, damaged or no npy file ({error or type(error).__name__}). Write it or "
            "fetch it again."
        ) from error
    return shape, is_fortran, dtype, whole.tell()
