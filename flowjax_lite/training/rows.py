"""Rows of data at the door: checked, in the model's precision, some of them held out."""

import functools
import hashlib
import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple, final

import jax
import numpy as np
from jax import Array

from flowjax_lite.bijectors.base import AbstractNormalization
from flowjax_lite.core.checks import (
    Shape,
    check_choice,
    check_condition_presence,
    check_levels,
    condition_shape_message,
    default_dtype,
)
from flowjax_lite.core.progress import tqdm
from flowjax_lite.core.pytree import holds
from flowjax_lite.data import CHECKS, Stream, Survey, check_data, enforce, findings
from flowjax_lite.data.arrays import as_array, as_rows, column_names
from flowjax_lite.distributions.model import AbstractModel

# Of the columns of x and of the condition, where they are frames.
Names = tuple[Sequence[str] | None, Sequence[str] | None]
_MOST_HELD_OUT = 2**30  # bytes
# What random numbers are for.
_HELD_OUT, _BLOCKS, _ROWS = range(3)


class Rows(NamedTuple):
    """Aligned rows of data; a pytree, on the host or on devices.

    Attributes:
        x: (rows, *event_shape).
        condition: (rows, *condition_shape), or None.
        weights: (rows,), not negative.
        positions: (rows,), the place of each in the data that were given.
    """

    x: Array | np.ndarray
    condition: Array | np.ndarray | None
    weights: Array | np.ndarray
    positions: Array | np.ndarray

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.x)

    def at(self, index: np.ndarray | slice | Array) -> "Rows":
        """Some of the rows."""
        return jax.tree.map(lambda array: array[index], self)


class Divided(NamedTuple):
    """Rows in memory.

    Attributes:
        training: to train on.
        validation: held out, or None.
    """

    training: Rows
    validation: Rows | None


def divided_rows(
    flow: AbstractModel,
    data: Any,
    condition: Any,
    weights: Any,
    *,
    validation: Any,
    key: Array,
    checks: str,
) -> Divided:
    """Check rows in memory, and divide them into those to train on and those held out.

    Args:
        flow: the model.
        data: as `fit` takes it, also those not named below.
        condition: as there.
        weights: as there.
        validation: as there.
        key: randomness of the choice of rows held out.
        checks: as there.

    Raises:
        TypeError, ValueError: as `fit`.
    """
    rows = check_rows(flow, data, condition, weights, checks=checks)
    count = _num_held_out(validation, rows.num_rows)
    if count is None:
        names = column_names(data), column_names(condition)
        return Divided(rows, _given_rows(flow, validation, checks=checks, names=names))
    order = _shuffled(rows, key)
    return _divided(
        rows, order[count:], order[:count], f"validation={validation} of them were drawn"
    )


def folded_rows(
    flow: AbstractModel,
    data: Any,
    condition: Any,
    weights: Any,
    *,
    num: int,
    key: Array,
    checks: str,
) -> list[Divided]:
    """Check rows in memory, and divide them once for each member of an ensemble.

    Each member holds out a part of its own. All parts are of one size; what rows remain beyond
    them all members train on.

    Args:
        flow: as for `divided_rows`, also the three after it.
        data: as there.
        condition: as there.
        weights: as there.
        num: of members.
        key: as there.
        checks: as there.

    Raises:
        TypeError, ValueError: as `fit_ensemble`.
    """
    rows = check_rows(flow, data, condition, weights, checks=checks)
    size = rows.num_rows // num
    if num < 2 or not size:
        raise ValueError(
            f'validation="folds" holds out one of {num} parts for each of {num} members, of '
            f"{rows.num_rows} rows: expected two members or more, and a row for each"
        )
    drawn = 'the parts of validation="folds" were drawn'
    order, folds = _shuffled(rows, key), [slice(i * size, (i + 1) * size) for i in range(num)]
    return [_divided(rows, np.delete(order, fold), order[fold], drawn) for fold in folds]


def _shuffled(rows: Rows, key: Array) -> np.ndarray:
    """A random order of rows."""
    return np.random.default_rng(key_data(key)).permutation(rows.num_rows)


def _divided(rows: Rows, training: np.ndarray, held_out: np.ndarray, drawn: str) -> Divided:
    """Rows by their numbers, neither part without weight; a message says how they came about."""
    parts = rows.at(training), rows.at(held_out)
    for purpose, part in zip(("train", "validate"), parts, strict=True):
        if not part.weights.any():
            raise ValueError(
                f"the rows to {purpose} on have no weight, after {drawn}: "
                f"leave rows of weight zero out, or give validation rows"
            )
    return Divided(*parts)


def check_rows(
    flow: AbstractModel,
    x: Any,
    condition: Any,
    weights: Any,
    *,
    checks: str,
    held_out: bool = False,
    names: Names = (None, None),
) -> Rows:
    """Check aligned rows, and return them in the model's precision.

    Args:
        flow: the model.
        x: (rows, *event_shape), or a frame.
        condition: (rows, condition_dim), a frame, or None.
        weights: (rows,), or None.
        checks: as `fit` takes it.
        held_out: whether the rows are not trained on, so that no density needs to fit them.
        names: of the columns that frames must have, in this order; those of the data.

    Raises:
        TypeError, ValueError: as `fit`.
    """
    name = "validation" if held_out else "data"
    check = functools.partial(check_data, dtype=default_dtype(), checks=checks)
    if flow.num_levels is None:
        unit_scale = _expects_unit_scale(flow)
        x = check(x, name=name, columns=names[0], allow_degenerate=held_out, unit_scale=unit_scale)
    else:
        x = check_levels(as_array(x, name=name), flow.event_shape, flow.num_levels, name)
    if condition is not None and flow.condition_shape is not None:
        options: Any = {"allow_degenerate": True, "whole_numbers": True}
        condition = check(condition, name="condition", columns=names[1], **options)
    given = None if condition is None else np.shape(condition)
    _check_shapes(flow, x.shape, given, name=name)
    if condition is not None:
        _check_count("condition", len(condition), name, len(x))
    return Rows(x, condition, _check_weights(weights, name, len(x)), _places(0, len(x)))


@final
class Blocks:
    """The rows of a stream, a block at a time, without those that are held out.

    All of them are read once to check them.

    Attributes:
        sizes: (blocks,), how many rows of each are trained on.
        buffer: rows to hold in memory and to shuffle together.
        validation: rows held out, or None.
        checksum: of all rows, hexadecimal.
    """

    def __init__(
        self,
        flow: AbstractModel,
        stream: Stream,
        condition: Any,
        weights: Any,
        *,
        validation: Any,
        key: Array,
        checks: str,
        progress: bool,
    ) -> None:
        """Check the rows of a stream.

        Args:
            flow: the model.
            stream: the data.
            condition: None, as a stream holds its own.
            weights: as `fit` takes it, also those not named below.
            validation: as there.
            key: randomness of the choice of rows held out, and of the order.
            checks: as there.
            progress: whether to show how far the pass over the data is, which checks them.

        Raises:
            TypeError, ValueError: as `fit`.
        """
        if condition is not None:
            raise ValueError(
                "data is read as a stream, and condition is given beside it: a stream holds the "
                "conditions of its rows; name their columns: "
                "data.stream(..., condition_columns=[...])"
            )
        if flow.num_levels is not None:
            raise ValueError(
                "data is read as a stream, whose events are real numbers, and the model is one of "
                "whole levels: pass the images as an array, of one byte a number"
            )
        check_choice(checks, CHECKS, "checks")
        num = len(stream)
        count = _num_held_out(validation, num)
        _check_memory(stream, count or 0)
        given = (num, *stream.condition_shape) if stream.condition_shape else None
        _check_shapes(flow, (num, *stream.event_shape), given, name=stream.name)
        self._stream, self._weights = stream, _check_weights(weights, stream.name, num)
        self._seed = tuple(int(word) for word in key_data(key).ravel())
        self._ends = np.cumsum(stream.sizes)
        up_to_block = np.rint(self._ends * ((count or 0) / num)).astype(np.int64)
        self._held_out = np.diff(up_to_block, prepend=0)
        self.sizes, self.buffer = stream.sizes - self._held_out, stream.buffer
        self.validation = None
        if count is None:
            self.validation = _given_rows(flow, validation, checks=checks)
        held_out = self._scan(flow, checks=checks, progress=progress)
        if count is not None:
            self.validation = held_out
        self._last: tuple[tuple[int, int], Rows] | None = None

    def order(self, epoch: int) -> np.ndarray:
        """The order of the blocks in an epoch."""
        return self._random(_BLOCKS, epoch).permutation(len(self.sizes))

    def training_rows(self, epoch: int, block: int) -> Rows:
        """The rows of a block that are trained on, in an order of this epoch.

        The last block is kept, as a window may begin in its middle.
        """
        if self._last is None or self._last[0] != (epoch, block):
            rows = self._held_out_first(block)[self._held_out[block] :]
            order = self._random(_ROWS, epoch, block).permutation(rows)
            self._last = (epoch, block), self._read(block).at(order)
        return self._last[1]

    def _scan(self, flow: AbstractModel, *, checks: str, progress: bool) -> Rows:
        """Read everything once, to check it and for its checksum; return the rows held out."""
        stream, digest, held_out = self._stream, hashlib.sha256(), []
        of_x, of_condition = Survey(), Survey()
        blocks = range(len(self.sizes))
        for block in tqdm(blocks, "checking the data", disable=not progress, unit="block"):
            piece = self._read(block)
            if checks != "off":
                of_x.add(piece.x)
                if piece.condition is not None:
                    of_condition.add(piece.condition)
            for array in jax.tree.leaves(piece):
                digest.update(np.ascontiguousarray(array).data)
            held_out.append(piece.at(self._held_out_first(block)[: self._held_out[block]]))
        self.checksum = digest.hexdigest()
        if of_x.num_rows:
            unit_scale = _expects_unit_scale(flow)
            problems = findings(
                of_x, name=stream.name, columns=stream.columns, unit_scale=unit_scale
            )
            enforce(problems, checks=checks)
        if of_condition.num_rows:
            problems = findings(
                of_condition,
                name=f"the condition of {stream.name}",
                columns=stream.condition_columns,
                allow_degenerate=True,
            )
            enforce(problems, checks=checks)
        together: Rows = jax.tree.map(lambda *arrays: np.concatenate(arrays), *held_out)
        return together

    def _read(self, block: int) -> Rows:
        """All rows of a block, in the model's precision.

        Raises:
            ValueError: the block cannot be read.
        """
        split, name, dtype = self._stream.read(block), self._stream.name, default_dtype()
        start, stop = self._ends[block] - len(split), self._ends[block]
        x, condition = as_rows(split.x, name=name, dtype=dtype), split.condition
        if condition is not None:
            condition = as_rows(
                condition, name=f"the condition of {name}", dtype=dtype, whole_numbers=True
            )
        return Rows(x, condition, self._weights[start:stop], _places(start, stop))

    def _held_out_first(self, block: int) -> np.ndarray:
        """An order of the rows of a block in which those that are held out come first."""
        return self._random(_HELD_OUT, block).permutation(int(self._stream.sizes[block]))

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([*purpose, *self._seed])


def key_data(key: Array) -> np.ndarray:
    """The bits of a random key."""
    return np.asarray(jax.random.key_data(key))


def _given_rows(
    flow: AbstractModel, validation: Any, *, checks: str, names: Names = (None, None)
) -> Rows | None:
    """Validation rows given as an array x, or a pair (x, condition); None stays None."""
    if validation is None:
        return None
    x, condition = validation if isinstance(validation, tuple) else (validation, None)
    return check_rows(flow, x, condition, None, checks=checks, held_out=True, names=names)


def _num_held_out(validation: Any, num_rows: int) -> int | None:
    """How many rows `validation` asks for, a number of them or a fraction; None where it is rows.

    Raises:
        ValueError: none would be left to train on, or to validate on.
    """
    if isinstance(validation, np.ndarray | Array) and validation.ndim == 0:
        validation = validation.item()
    if isinstance(validation, bool) or not isinstance(validation, Real):
        return None
    whole, part = isinstance(validation, Integral), float(validation)
    if not whole and not 0 < part < 1:
        raise ValueError(
            f"validation is {validation}; expected a fraction between 0 and 1, a number of rows, "
            f"arrays, or None"
        )
    count = round(part if whole else num_rows * part)
    if not 0 < count < num_rows:
        raise ValueError(
            f"validation={validation} of {num_rows} rows leaves {max(count, 0)} to validate on and "
            f"{max(num_rows - count, 0)} to train on; pass another fraction or number of rows, "
            f"arrays, or None"
        )
    return count


def _check_memory(stream: Stream, count: int) -> None:
    """Check that held-out rows of a stream, which stay in memory, are not themselves too large."""
    width = math.prod(stream.event_shape) + len(stream.condition_columns)
    if count * width * 4 > _MOST_HELD_OUT:
        raise ValueError(
            f"validation holds out {count} rows of {width} numbers, which stay in memory; "
            f"expected at most {_MOST_HELD_OUT >> 20} MiB: pass a smaller fraction of the "
            f"{len(stream)} rows, or an array"
        )


def _check_shapes(
    flow: AbstractModel, shape: Shape, condition_shape: Shape | None, *, name: str
) -> None:
    """Check that rows of these shapes, (rows, ...) each, are events and conditions of a flow."""
    if shape[1:] != flow.event_shape:
        axes = ", ".join(["rows", *map(str, flow.event_shape)])
        raise ValueError(
            f"{name} has shape {shape}; this flow expects ({axes}), as given to dim or "
            f"image_shape when it was built"
        )
    check_condition_presence(condition_shape, flow.condition_shape)
    expected = flow.condition_shape
    if condition_shape is not None and expected is not None and condition_shape[1:] != expected:
        raise ValueError(condition_shape_message(condition_shape[1:], expected))


def _check_weights(weights: Any, name: str, count: int) -> np.ndarray:
    """Check one weight for each row, in the model's precision; None weighs all alike."""
    dtype = default_dtype()
    if weights is None:
        return np.broadcast_to(np.ones((), dtype), (count,))  # takes no memory
    weights = as_array(weights, name="weights")
    if weights.dtype.kind not in "fiub":
        raise TypeError(f"weights has type {weights.dtype}; expected real numbers")
    weights = weights.astype(np.float64)
    if weights.ndim == 2 and weights.shape[1] == 1:  # a column of a frame
        weights = weights[:, 0]
    if weights.ndim != 1:
        raise ValueError(f"weights has shape {weights.shape}; expected ({count},), one a row")
    _check_count("weights", len(weights), name, count)
    bad = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if bad.size:
        raise ValueError(
            f"weights[{bad[0]}] is {weights[bad[0]]}; expected finite numbers of at least 0"
        )
    with np.errstate(over="ignore"):
        total, weights = weights.sum(), weights.astype(dtype)
        if not np.isfinite(weights.sum()):
            raise ValueError(
                f"weights add up to {total:.3g}, which {dtype} cannot hold; only their ratios "
                f"matter: divide them by weights.mean()"
            )
    if not weights.any():
        raise ValueError("weights are all zero; at least one row needs a positive weight")
    return weights


def _check_count(name: str, count: int, other: str, expected: int) -> None:
    if count != expected:
        raise ValueError(
            f"{name} has {count} rows and {other} {expected}; expected the same number, row for row"
        )


def _expects_unit_scale(flow: AbstractModel) -> bool:
    """Whether layers meet the data as they are, as far as is known: that of named flows."""
    arguments = dict(flow.recipe.arguments) if flow.recipe else {}
    bare = all(key in arguments and arguments[key] is None for key in ("data_map", "base"))
    return bare and not holds(flow, AbstractNormalization)


def _places(start: int, stop: int) -> np.ndarray:
    """Places in the data, in four bytes each, as devices know them."""
    return np.arange(start, stop).astype(np.uint32)
