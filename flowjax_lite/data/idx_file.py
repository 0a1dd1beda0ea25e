"""Reading idx files: the plain binary format of the MNIST images and labels."""

import gzip
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flowjax_lite.data.table import Table, TableError, table_from_array

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
    raw = path.read_bytes()
    if path.suffix.lower() == ".gz":
        raw = gzip.decompress(raw)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _TYPES or raw[3] == 0:
        raise TableError(
            f"is not an idx file: it starts with the bytes {raw[:4].hex(' ')}; expected 00 00, a "
            "type from 08 to 0e and the number of dimensions. Fetch it again."
        )
    dtype, rank = np.dtype(_TYPES[raw[2]]), raw[3]
    start = 4 + 4 * rank
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    expected = start + math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        raise TableError(
            f"is damaged: it holds {len(raw)} bytes, but the shape {shape} in its header needs "
            f"{expected}. Fetch it again."
        )
    values = np.frombuffer(raw, dtype, offset=start).astype(dtype.newbyteorder("="))
    table = table_from_array(values.reshape(shape[0], -1) if values.size else values, columns)
    is_whole_image = rank == 3 and columns is None
    return Table(table.values, table.columns, (shape[1], shape[2]) if is_whole_image else None)
