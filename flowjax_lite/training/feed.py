"""What brings training rows to the devices, a window at a time."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, final

import jax
import numpy as np
from jax import Array

from flowjax_lite.core.mesh import Placement
from flowjax_lite.training.rows import Rows, SplitRows
from flowjax_lite.training.window import Window, batch_ends, order_key, shuffled


class Piece(NamedTuple):
    """Rows on the host.

    Attributes:
        rows: (rows, ...) each.
        positions: (rows,), the place of each in the data.
    """

    rows: Rows
    positions: np.ndarray

    def take(self, index: np.ndarray | slice) -> "Piece":
        """Some of the rows."""
        return jax.tree.map(lambda array: array[index], self)


def join(pieces: Sequence[Piece]) -> Piece:
    """The rows of several pieces, one after the other."""
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *pieces)


def check_batch_size(batch_size: int, num_rows: int, num_parts: int = 1) -> None:
    """Check that batches are neither larger than the data nor smaller than their parts.

    Raises:
        ValueError: they are.
    """
    if num_rows < batch_size:
        raise ValueError(
            f"data has {num_rows} training rows, fewer than batch_size {batch_size}: pass "
            f"batch_size={num_rows} or less"
        )
    if batch_size < num_parts:
        raise ValueError(
            f"batch_size is {batch_size}, and {num_parts} devices share a batch: pass "
            f"batch_size={num_parts} or more, so that each has a row"
        )


class AbstractFeed(ABC):
    """The training rows of a run.

    Attributes:
        validation: rows held out, on the host, or None.
        num_windows: of an epoch.
        batches: of a window.
        capacity: rows of a part of a window, at most.
    """

    validation: Rows | None
    num_windows: int
    batches: int
    capacity: int

    @property
    @final
    def num_steps(self) -> int:
        """Steps of an epoch."""
        return self.num_windows * self.batches

    @abstractmethod
    def window(self, epoch: int, number: int) -> Window:
        """The rows of one window, on the devices.

        Raises:
            ValueError: they cannot be read.
        """

    @abstractmethod
    def pieces(self, epoch: int, number: int) -> list[Piece]:
        """The same on the host, a piece for each part of the window."""

    @abstractmethod
    def checksum(self) -> str:
        """Of all rows, to know them again."""

    @abstractmethod
    def close(self) -> None:
        """End what goes on in the background."""

    @final
    def batch(self, key: Array, epoch: int, step: int) -> Piece:
        """The rows that a step trains on, read once more, to name them.

        Args:
            key: of the run.
            epoch: number of the epoch.
            step: of this epoch.
        """
        number, batch = divmod(step, self.batches)
        pieces = self.pieces(epoch, number)
        ends = np.stack([batch_ends(len(piece.positions), self.batches) for piece in pieces])
        key = order_key(key, epoch, number * self.batches)
        order = np.asarray(shuffled(key, ends, self.capacity))
        return join(
            [
                piece.take(places[start:end])
                for piece, places, start, end in zip(
                    pieces, order, ends[:, batch], ends[:, batch + 1], strict=True
                )
            ]
        )


@final
class Resident(AbstractFeed):
    """All rows in one window, on every device, for the whole run.

    Args:
        split: the rows.
        batch_size: most rows of a batch.
        placement: the devices.

    Raises:
        ValueError: there are fewer rows than in a batch.
    """

    def __init__(self, split: SplitRows, batch_size: int, placement: Placement) -> None:
        rows = split.train
        check_batch_size(batch_size, rows.num_rows)
        self.validation = split.validation
        self.num_windows, self.batches = 1, -(-rows.num_rows // batch_size)
        self.capacity = rows.num_rows
        self._piece = Piece(rows, split.positions)
        ends = batch_ends(rows.num_rows, self.batches)
        window = Window(*jax.tree.map(lambda array: array[None], (rows, ends)))
        self._placed = placement.put(window)

    def window(self, epoch: int, number: int) -> Window:
        return self._placed

    def pieces(self, epoch: int, number: int) -> list[Piece]:
        return [self._piece]

    def checksum(self) -> str:
        digest = hashlib.sha256()
        for array in jax.tree.leaves((self._piece.rows, self.validation)):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def close(self) -> None:
        pass
