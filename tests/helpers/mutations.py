"""Files as a careless disk or a stranger would make them, and what it costs to read them."""

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def mutations(content: bytes, *, num: int, seed: int) -> Iterator[bytes]:
    """Damaged copies of a file, none equal to it: bits flipped, bytes changed, parts cut or moved.

    Args:
        content: the file.
        num: number of copies.
        seed: of the choice; the copies are the same each time.
    """
    rng = np.random.default_rng(seed)
    kinds = (_flip, _flip, _truncate, _overwrite, _delete, _repeat)
    for i in range(num):
        damaged = content
        while damaged == content:
            damaged = kinds[i % len(kinds)](content, rng)
        yield damaged


def peak_bytes(call: Callable[[], Any]) -> int:
    """The most memory that Python and NumPy take at once during a call; errors in it are raised."""
    tracemalloc.start()
    try:
        call()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def _flip(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    for place in rng.integers(len(content), size=rng.integers(1, 4)):
        damaged[place] ^= 1 << rng.integers(8)
    return bytes(damaged)


def _truncate(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(1, len(content))]


def _overwrite(content: bytes, rng: np.random.Generator) -> bytes:
    span, fresh = _span(content, rng), rng.choice([b"\0", b"\xff", b"9", b'"', b"[", b"\n", b","])
    return content[: span.start] + fresh * (span.stop - span.start) + content[span.stop :]


def _delete(content: bytes, rng: np.random.Generator) -> bytes:
    span = _span(content, rng)
    return content[: span.start] + content[span.stop :]


def _repeat(content: bytes, rng: np.random.Generator) -> bytes:
    span, place = _span(content, rng), rng.integers(len(content))
    return content[:place] + content[span] + content[place:]


def _span(content: bytes, rng: np.random.Generator) -> slice:
    start = int(rng.integers(len(content)))
    return slice(start, min(len(content), start + int(rng.integers(1, 9))))
