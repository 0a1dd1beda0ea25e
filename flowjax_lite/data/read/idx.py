"""Reading idx files: the plain binary format of the MNIST images and labels."""

import gzip
import math
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from flowjax_lite.data.read.limits import check_unpacked, read_at_most
from flowjax_lite.data.read.table import Table, TableError, table_from_array

# The third byte says how numbers are stored, always with the high byte first.
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path, columns: Sequence[str] | None) -> Table:
    """Read an idx file, gzipped if its name ends in `.gz`.

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
        values = _read_array(file, path.stat().st_size, is_packed=is_packed)
    # No rows at all are a flat array, whatever the images.
    rows = values.reshape(len(values), -1) if values.size else values.reshape(-1)
    table = table_from_array(rows, columns)
    is_whole_image = values.ndim == 3 and columns is None
    return Table(table.values, table.columns, values.shape[1:] if is_whole_image else None)


def _read_array(file: IO[bytes] | gzip.GzipFile, size: int, *, is_packed: bool) -> np.ndarray:
    """The array of an open file, which has that many bytes on the disk."""
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or head[3] == 0:
        raise TableError(
            f"is not an idx file: it starts with the bytes {head.hex(' ')}; expected 00 00, a "
            "type from 08 to 0e and the number of dimensions. Fetch it again."
        )
    dtype, rank = np.dtype(_TYPES[head[2]]), head[3]
    sizes = file.read(4 * rank)
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, 4 * rank, 4))
    num_bytes = math.prod(shape) * dtype.itemsize
    if is_packed:
        check_unpacked(num_bytes, size)
    raw = read_at_most(file, num_bytes + 1)  # one more, to see the end
    if len(sizes) + len(raw) != 4 * rank + num_bytes:
        more = " or more" if len(raw) > num_bytes else ""
        raise TableError(
            f"is damaged: it holds {4 + len(sizes) + len(raw)} bytes{more}, but the shape {shape} "
            f"in its header needs {4 + 4 * rank + num_bytes}. Fetch it again."
        )
    values = np.frombuffer(raw, dtype)
    return values.astype(dtype.newbyteorder("="), copy=False).reshape(shape)
