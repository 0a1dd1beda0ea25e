"""The rows that `fit` takes: checked, aligned, and split."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.bijectors.batch import holds
from flowjax_lite.bijectors.normalization import AbstractNormalization
from flowjax_lite.data.checks import check_data
from flowjax_lite.distributions import Flow
from flowjax_lite.numerics.shapes import (
    check_condition_presence,
    condition_shape_message,
    default_dtype,
)


class Rows(NamedTuple):
    """Aligned rows of data.

    Attributes:
        x: (rows, *event_shape).
        condition: (rows, *condition_shape), or None.
        weights: (rows,).
    """

    x: Array
    condition: Array | None
    weights: Array

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.x)


class SplitRows(NamedTuple):
    """Rows to train on and rows held out.

    Attributes:
        train: training rows.
        validation: rows never trained on, or None.
        positions: (training rows,), the place of each in the data.
    """

    train: Rows
    validation: Rows | None
    positions: np.ndarray


def check_rows(
    flow: Flow, x: Any, condition: Any, weights: Any, *, checks: str, held_out: bool = False
) -> Rows:
    """Check aligned rows, in the model's precision."""
    name, dtype = "validation" if held_out else "data", default_dtype()
    x = check_data(
        x,
        name=name,
        dtype=dtype,
        allow_degenerate=held_out,
        unit_scale=_expects_unit_scale(flow),
        checks=checks,
    )
    if x.shape[1:] != flow.event_shape:
        raise ValueError(
            f"{name} has shape {x.shape}; this flow expects (rows, {flow.event_shape[0]}), as "
            f"given to dim when it was built"
        )
    check_condition_presence(condition, flow.condition_shape)
    if condition is not None and flow.condition_shape is not None:
        condition = check_data(
            condition, name="condition", dtype=dtype, allow_degenerate=True, checks=checks
        )
        if condition.shape[1:] != flow.condition_shape:
            raise ValueError(condition_shape_message(condition.shape[1:], flow.condition_shape))
        _check_count("condition", len(condition), name, len(x))
    return Rows(x, condition, _check_weights(weights, name, len(x), dtype))


def _expects_unit_scale(flow: Flow) -> bool:
    """Whether layers meet the data as they are, as far as is known: that of named flows."""
    arguments = dict(flow.recipe.arguments) if flow.recipe else {}
    bare = all(key in arguments and arguments[key] is None for key in ("data_map", "base"))
    return bare and not holds(flow, AbstractNormalization)


def _check_weights(weights: Any, name: str, count: int, dtype: Any) -> Any:
    if weights is None:
        return np.ones(count, dtype)
    weights = np.asarray(weights, np.float64)
    if weights.ndim != 1:
        raise ValueError(f"weights has shape {weights.shape}; expected ({count},), one a row")
    _check_count("weights", len(weights), name, count)
    bad = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if bad.size:
        raise ValueError(
            f"weights[{bad[0]}] is {weights[bad[0]]}; expected finite numbers of at least 0"
        )
    if not weights.any():
        raise ValueError("weights are all zero; at least one row needs a positive weight")
    return weights.astype(dtype)


def _check_count(name: str, count: int, other: str, expected: int) -> None:
    if count != expected:
        raise ValueError(
            f"{name} has {count} rows and {other} {expected}; expected the same number, row for row"
        )


def split_rows(flow: Flow, rows: Rows, validation: Any, key: Array, *, checks: str) -> SplitRows:
    """Training rows and validation rows; the latter as given, or drawn from the former."""
    everything = np.arange(rows.num_rows)
    if validation is None:
        return SplitRows(rows, None, everything)
    if not isinstance(validation, float):
        x, condition = validation if isinstance(validation, tuple) else (validation, None)
        held_out = check_rows(flow, x, condition, None, checks=checks, held_out=True)
        return SplitRows(rows, held_out, everything)
    if not 0 < validation < 1:
        raise ValueError(
            f"validation is {validation}; expected a fraction between 0 and 1, arrays, or None"
        )
    count = round(rows.num_rows * validation)
    if not 0 < count < rows.num_rows:
        raise ValueError(
            f"validation={validation} of {rows.num_rows} rows leaves {count} to validate on; "
            f"pass a larger fraction, arrays, or None"
        )
    order = np.random.default_rng(key_data(key)).permutation(rows.num_rows)
    parts = order[count:], order[:count]
    train, test = (jax.tree.map(lambda array, part=part: array[part], rows) for part in parts)
    return SplitRows(train, test, parts[0])


def key_data(key: Array) -> np.ndarray:
    """The bits of a random key, of either kind."""
    integers = jnp.issubdtype(key.dtype, jnp.integer)
    return np.asarray(key if integers else jax.random.key_data(key))
