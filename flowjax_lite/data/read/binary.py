"""Reading npy, npz and idx files, whose headers are not to be trusted."""

import gzip
import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from flowjax_lite.core.checks import suggest
from flowjax_lite.data.read.table import (
    Table,
    TableError,
    check_numbers,
    check_unpacked,
    table_from_array,
)

_PIECE = 2**18  # bytes that are read at once
_MAX_HEADER = 10_012  # bytes of an npy file, as numpy has it
_MOST_NAMED = 20
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    # It differs in the names of fields, which no table has.
    (3, 0): np.lib.format.read_array_header_2_0,
}
# The third byte of an idx file says how its numbers are stored.
_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


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
        return table_from_array(_npy_array(file, path.stat().st_size), columns)


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
        shape, is_fortran, dtype, start = _npy_header(file.read(_MAX_HEADER))
    _check_size(path.stat().st_size - start, shape, dtype)
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
    with zipfile.ZipFile(path) as archive:
        arrays = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        if array is None and len(arrays) == 1:
            (array,) = arrays
        if array is None or array not in arrays:
            problem = f"holds {len(arrays)} arrays" if array is None else f"has no array {array!r}"
            shapes = []
            for name in arrays[:_MOST_NAMED]:
                with _open_entry(archive, name) as file:
                    shapes.append(f"{name} {_npy_header(file.read(_MAX_HEADER))[0]}")
            more = ", ..." if len(arrays) > _MOST_NAMED else ""
            raise TableError(
                f"{problem}.{suggest(array or '', arrays)} Choose one with array=NAME, of: "
                f"{', '.join(shapes)}{more}."
            )
        size = archive.getinfo(f"{array}.npy").file_size
        check_unpacked(size, path.stat().st_size)
        with _open_entry(archive, array) as file:
            return table_from_array(_npy_array(file, size), columns)


def read_idx(path: Path, columns: Sequence[str] | None) -> Table:
    """Read an idx file, the format of the MNIST images, gzipped if its name ends in `.gz`.

    Args:
        path: The file.
        columns: Names of the columns to keep, of `x0`, `x1`, ...; all by default.

    Returns:
        The table: a row for each image, or for each label.

    Raises:
        TableError: The first bytes are not those of an idx file, or the length does not match.
    """
    is_packed = path.suffix.lower() == ".gz"
    with gzip.open(path) if is_packed else path.open("rb") as file:
        head = file.read(4)
        *zeros, code, rank = head.ljust(4, b"\0")
        sizes = file.read(4 * rank)
        if zeros != [0, 0] or code not in _IDX_TYPES or not rank or len(sizes) < 4 * rank:
            raise TableError(
                f"is not a whole idx file: it starts with the bytes {head.hex(' ')}; expected 00 "
                "00, a type from 08 to 0e and the number of dimensions, whose sizes follow. Fetch "
                "it again."
            )
        dtype = np.dtype(_IDX_TYPES[code])
        shape = tuple(np.frombuffer(sizes, ">u4").tolist())
        num_bytes = math.prod(shape) * dtype.itemsize
        if is_packed:
            check_unpacked(num_bytes, path.stat().st_size)
        raw = _read_at_most(file, num_bytes + 1)  # one more, to see the end
    _check_size(len(raw), shape, dtype)
    values = np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="), copy=False)
    table = table_from_array(values.reshape(shape[0], math.prod(shape[1:])), columns)
    is_whole_image = len(shape) == 3 and columns is None
    return replace(table, image_shape=shape[1:]) if is_whole_image else table


def _open_entry(archive: zipfile.ZipFile, array: str) -> IO[bytes]:
    entry = archive.getinfo(f"{array}.npy")
    is_plain = entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if not is_plain or entry.flag_bits & 1:
        raise TableError("is encrypted or packed in another way than numpy's. Write it again.")
    return archive.open(entry)


def _npy_array(file: IO[bytes], size: int) -> np.ndarray:
    """The array of an open npy file of that many bytes, if its header agrees with them."""
    raw = _read_at_most(file, size)
    shape, is_fortran, dtype, start = _npy_header(raw)
    _check_size(len(raw) - start, shape, dtype)
    return np.frombuffer(raw, dtype, offset=start).reshape(shape, order="F" if is_fortran else "C")


def _npy_header(content: bytes | bytearray) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """The shape, whether in Fortran order, the type, and the byte at which numbers begin."""
    head = io.BytesIO(content[:_MAX_HEADER])
    try:
        shape, is_fortran, dtype = _HEADER_READERS[np.lib.format.read_magic(head)](head)
    except Exception as error:  # a header is a Python literal, which can be wrong in many ways
        raise TableError(
            f"is cut short, damaged or no npy file ({error or type(error).__name__}). Write it or "
            "fetch it again."
        ) from error
    check_numbers(shape, dtype)
    return shape, is_fortran, dtype, head.tell()


def _check_size(num_bytes: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
    expected = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or num_bytes != expected:
        more = " or more" if num_bytes > expected else ""
        raise TableError(
            f"is damaged or cut short: it holds {num_bytes} bytes of numbers{more}, but the shape "
            f"{shape} and type {dtype} in its header need {expected}. Write it or fetch it again."
        )


def _read_at_most(file: IO[bytes] | gzip.GzipFile, num_bytes: int) -> bytearray:
    """Read in pieces, so that a promise of many bytes takes no memory where few are there."""
    raw = bytearray()
    while piece := file.read(min(_PIECE, num_bytes - len(raw))):
        raw += piece
    return raw
