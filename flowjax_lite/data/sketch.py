"""A sample of the distinct rows of a stream, in bounded memory."""

import numpy as np

_SIZE = 8192
_SEED = 0x5EED


class RowSketch:
    """The distinct rows whose hashes are smallest, each with how often and where it came first.

    As hashes are uniform, this is a random sample of the distinct rows, and how close together
    its hashes lie tells how many distinct rows there are: exactly up to 8192, then to 1.1 % (one
    standard deviation). The order of the rows does not matter.

    Bar-Yossef et al. (2002), Counting distinct elements in a data stream, algorithm 2.

    Attributes:
        values: The rows, `(k, d)`.
        counts: How often each came, `(k,)`.
        first: The number of the row in which each came first, `(k,)`.
    """

    def __init__(self, dim: int, dtype: np.dtype) -> None:
        self.values = np.empty((0, dim), dtype)
        self.counts, self.first = np.empty(0, np.int64), np.empty(0, np.int64)
        self._hashes = np.empty(0, np.uint64)
        factors = np.random.default_rng(_SEED).integers(2**64, size=dim, dtype=np.uint64)
        self._factors = factors | np.uint64(1)

    def add(self, rows: np.ndarray, numbers: np.ndarray) -> None:
        """Take in a contiguous block of rows without negative zeros, and their numbers."""
        hashes = _hash(rows, self._factors)
        if len(self._hashes) == _SIZE:
            small = np.flatnonzero(hashes <= self._hashes[-1])
            hashes, rows, numbers = hashes[small], rows[small], numbers[small]
        if not hashes.size:
            return
        hashes, index, group = np.unique(
            np.concatenate([self._hashes, hashes]), return_index=True, return_inverse=True
        )
        counts = np.concatenate([self.counts, np.ones(len(rows), np.int64)])
        self.counts = np.bincount(group, counts)[:_SIZE].astype(np.int64)
        self._hashes, index = hashes[:_SIZE], index[:_SIZE]
        self.values = np.concatenate([self.values, rows])[index]
        self.first = np.concatenate([self.first, numbers])[index]

    def num_distinct(self) -> float:
        """Estimate how many distinct rows came."""
        if len(self._hashes) < _SIZE:
            return len(self._hashes)
        return (_SIZE - 1) / (float(self._hashes[-1]) / 2.0**64)


def _hash(rows: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Hash rows to 64 bits: a sum of random multiples of the cells' bits, then mixed."""
    bits = rows.view(f"u{rows.itemsize}").astype(np.uint64)
    # Odd multiples of a sign bit are all alike: it must reach lower bits.
    bits ^= bits >> np.uint64(8 * rows.itemsize // 2 - 1)
    bits *= factors
    h = bits.sum(axis=1, dtype=np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        h ^= h >> np.uint64(shift)
        h *= np.uint64(factor)
    return h ^ (h >> np.uint64(31))
