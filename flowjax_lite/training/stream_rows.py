"""The rows of a stream as training sees them: checked, in its precision, some held out."""

import hashlib
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm.auto import tqdm

from flowjax_lite.core.checks import check_choice, default_dtype
from flowjax_lite.data import CHECKS, Stream, Survey, enforce, findings
from flowjax_lite.data.arrays import as_rows
from flowjax_lite.distributions import Flow
from flowjax_lite.training.feed import Piece, join
from flowjax_lite.training.rows import Rows, check_shapes, check_weights, expects_unit_scale

# What random numbers are for.
_HELD_OUT, _BLOCKS, _ROWS = range(3)


class Scanned(NamedTuple):
    """What one pass over a stream finds.

    Attributes:
        held_out: the rows that are never trained on.
        checksum: of all rows.
    """

    held_out: Rows
    checksum: str


class StreamRows:
    """Blocks of rows, in an order that follows from a seed and the epoch.

    Args:
        stream: the data.
        weights: (rows,), or None.
        num_held_out: how many rows are never trained on; each block gives its share.
        seed: whole numbers.

    Attributes:
        sizes: (blocks,), the number of rows to train on in each.
    """

    def __init__(
        self, stream: Stream, weights: Any, *, num_held_out: int, seed: tuple[int, ...]
    ) -> None:
        self._stream, self._seed = stream, seed
        self._weights = check_weights(weights, stream.name, len(stream))
        self._ends = np.cumsum(stream.sizes)
        share = num_held_out / len(stream)
        self._held_out = np.diff(np.rint(self._ends * share).astype(np.int64), prepend=0)
        self.sizes = stream.sizes - self._held_out

    def block_order(self, epoch: int) -> np.ndarray:
        """The order of the blocks in an epoch."""
        return self._random(_BLOCKS, epoch).permutation(len(self.sizes))

    def training(self, epoch: int, block: int) -> Piece:
        """The rows of a block that are trained on, in an order of this epoch.

        Raises:
            ValueError: the block cannot be read.
        """
        rows = self._held_out_first(block)[self._held_out[block] :]
        return self._read(block).take(self._random(_ROWS, epoch, block).permutation(rows))

    def scan(self, flow: Flow, *, checks: str, progress: bool) -> Scanned:
        """Read everything once: check it, sum it up, and keep what is held out.

        Args:
            flow: the flow that is to be trained.
            checks: "error", "warn" or "off"; see `data.check_data`.
            progress: whether to show how far it is.

        Raises:
            TypeError, ValueError: as `fit`.
        """
        check_choice(checks, CHECKS, "checks")
        stream, rows = self._stream, len(self._stream)
        given = (rows, *stream.condition_shape) if stream.condition_shape else None
        check_shapes(flow, (rows, *stream.event_shape), given, name=stream.name)
        digest, held_out = hashlib.sha256(), []
        survey, of_conditions = Survey(), Survey()
        blocks = range(len(self.sizes))
        for block in tqdm(blocks, "checking the data", disable=not progress, unit="block"):
            piece = self._read(block)
            x, condition, _ = piece.rows
            if checks != "off":
                survey.add(x)
                if condition is not None:
                    of_conditions.add(condition)
            for array in jax.tree.leaves(piece.rows):
                digest.update(np.ascontiguousarray(array).data)
            held_out.append(piece.take(self._held_out_first(block)[: self._held_out[block]]))
        if checks != "off":
            problems = findings(
                survey,
                name=stream.name,
                columns=stream.columns,
                unit_scale=expects_unit_scale(flow),
            )
            enforce(problems, checks=checks)
            if of_conditions.num_rows:
                problems = findings(
                    of_conditions,
                    name=f"the condition of {stream.name}",
                    columns=stream.condition_columns,
                    allow_degenerate=True,
                )
                enforce(problems, checks=checks)
        return Scanned(join(held_out).rows, digest.hexdigest())

    def _read(self, block: int) -> Piece:
        """All rows of a block, in the model's precision."""
        split, name, dtype = self._stream.read(block), self._stream.name, default_dtype()
        positions = np.arange(self._ends[block] - len(split), self._ends[block])
        x, condition = as_rows(split.x, name=name, dtype=dtype), split.condition
        if condition is not None:
            condition = as_rows(
                condition, name=f"the condition of {name}", dtype=dtype, whole_numbers=True
            )
        return Piece(Rows(x, condition, self._weights[positions]), positions)

    def _held_out_first(self, block: int) -> np.ndarray:
        """An order of the rows of a block in which those that are held out come first."""
        return self._random(_HELD_OUT, block).permutation(int(self._stream.sizes[block]))

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([*purpose, *self._seed])
