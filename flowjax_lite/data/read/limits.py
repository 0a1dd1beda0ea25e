"""How much a file may claim to hold: checked before any memory is taken."""

import gzip
from typing import IO

from flowjax_lite.data.read.table import TableError

_FREE_BYTES = 2**26
_MAX_RATIO = 200
_PIECE = 2**18


def check_unpacked(num_bytes: int, packed: int) -> None:
    """Check what a packed file says that it unpacks to.

    Args:
        num_bytes: What it says.
        packed: The bytes of the packed file.

    Raises:
        TableError: More than 64 MiB and more than 200 times the file, as in a zip bomb.
    """
    if num_bytes > max(_FREE_BYTES, _MAX_RATIO * packed):
        raise TableError(
            f"says that its {packed} bytes unpack to {num_bytes}; expected at most {_MAX_RATIO} "
            f"times as many, or {_FREE_BYTES}. If you trust it, unpack it yourself first and give "
            "that file."
        )


def read_at_most(file: IO[bytes] | gzip.GzipFile, num_bytes: int) -> bytearray:
    """Read in pieces, so that a promise of many bytes takes no memory where few are there.

    Args:
        file: An open file, perhaps unpacked while it is read.
        num_bytes: How many to read.

    Returns:
        The bytes, fewer if the file ends before.
    """
    raw = bytearray()
    while piece := file.read(min(_PIECE, num_bytes - len(raw))):
        raw += piece
    return raw
