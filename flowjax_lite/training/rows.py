"""Rows of data, as they go from `fit` to the training step."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from flowjax_lite.bijectors.base import AbstractNormalization
from flowjax_lite.core.checks import (
    Shape,
    check_condition_presence,
    condition_shape_message,
    default_dtype,
)
from flowjax_lite.core.pytree import holds
from flowjax_lite.data import check_data
from flowjax_lite.data.arrays import as_array
from flowjax_lite.distributions import Flow

# Of the columns of x and of the condition, where they are frames.
Names = tuple[Sequence[str] | None, Sequence[str] | None]


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


def check_rows(
    flow: Flow,
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
    name, dtype = "validation" if held_out else "data", default_dtype()
    x = check_data(
        x,
        name=name,
        dtype=dtype,
        allow_degenerate=held_out,
        columns=names[0],
        unit_scale=expects_unit_scale(flow),
        checks=checks,
    )
    if condition is not None and flow.condition_shape is not None:
        condition = check_data(
            condition,
            name="condition",
            dtype=dtype,
            allow_degenerate=True,
            whole_numbers=True,
            columns=names[1],
            checks=checks,
        )
    given = None if condition is None else np.shape(condition)
    check_shapes(flow, x.shape, given, name=name)
    if condition is not None:
        _check_count("condition", len(condition), name, len(x))
    return Rows(x, condition, check_weights(weights, name, len(x)), places(0, len(x)))


def check_shapes(flow: Flow, shape: Shape, condition_shape: Shape | None, *, name: str) -> None:
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


def expects_unit_scale(flow: Flow) -> bool:
    """Whether layers meet the data as they are, as far as is known: that of named flows."""
    arguments = dict(flow.recipe.arguments) if flow.recipe else {}
    bare = all(key in arguments and arguments[key] is None for key in ("data_map", "base"))
    return bare and not holds(flow, AbstractNormalization)


def check_weights(weights: Any, name: str, count: int) -> np.ndarray:
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


def places(start: int, stop: int) -> np.ndarray:
    """Places in the data, in four bytes each, as devices know them."""
    return np.arange(start, stop).astype(np.uint32)


def _check_count(name: str, count: int, other: str, expected: int) -> None:
    if count != expected:
        raise ValueError(
            f"{name} has {count} rows and {other} {expected}; expected the same number, row for row"
        )


def split_rows(
    flow: Flow,
    rows: Rows,
    validation: Any,
    key: Array,
    *,
    checks: str,
    names: Names = (None, None),
) -> tuple[Rows, Rows | None]:
    """Training rows and validation rows; the latter as given, or drawn from the former."""
    count = num_held_out(validation, rows.num_rows)
    if count is None:
        return rows, given_rows(flow, validation, checks=checks, names=names)
    order = np.random.default_rng(key_data(key)).permutation(rows.num_rows)
    training, held_out = rows.at(order[count:]), rows.at(order[:count])
    for purpose, part in (("train", training), ("validate", held_out)):
        if not part.weights.any():
            raise ValueError(
                f"the rows to {purpose} on have no weight, after validation={validation} of them "
                f"were drawn: leave rows of weight zero out, or give validation rows"
            )
    return training, held_out


def given_rows(
    flow: Flow, validation: Any, *, checks: str, names: Names = (None, None)
) -> Rows | None:
    """Validation rows given as an array x, or a pair (x, condition); None stays None."""
    if validation is None:
        return None
    x, condition = validation if isinstance(validation, tuple) else (validation, None)
    return check_rows(flow, x, condition, None, checks=checks, held_out=True, names=names)


def num_held_out(validation: Any, num_rows: int) -> int | None:
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


def key_data(key: Array) -> np.ndarray:
    """The bits of a random key."""
    return np.asarray(jax.random.key_data(key))
