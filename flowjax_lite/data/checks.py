"""The checks that data must pass before a density is fitted to them."""

from collections import defaultdict
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

_MOST_NAMED = 5


def check_data(
    x: ArrayLike,
    *,
    name: str = "data",
    dtype: DTypeLike | None = None,
    allow_degenerate: bool = False,
    columns: Sequence[str] | None = None,
) -> np.ndarray:
    """Check that a density can be fitted to an array, and say what to mend where not.

    Args:
        x: Data, `(n, d)`, of a float type.
        name: What messages call the array.
        dtype: Precision that the flow will see, checked in place of the array's own; None
            keeps that.
        allow_degenerate: Accept constant and duplicated columns. They let the likelihood of
            training rows grow without bound, and do no harm in conditions and validation rows.
        columns: Names of the d columns for messages; otherwise columns are numbered from 0.

    Returns:
        The array, `(n, d)`.

    Raises:
        TypeError: Complex, integer, bool or other values that are not floats.
        ValueError: Wrong rank, no rows or columns, NaN or infinite cells, constant columns, or
            columns that are exact copies of others.
    """
    array = _as_float_array(x, name, dtype)
    _check_shape(array, name)
    labels = [repr(c) for c in columns] if columns else [str(j) for j in range(array.shape[1])]
    _check_finite(array, name, labels)
    if allow_degenerate:
        return array
    low, high = array.min(axis=0), array.max(axis=0)
    constant = low == high
    if constant.any():
        raise ValueError(
            f"{name} has {_listed([labels[j] for j in np.flatnonzero(constant)], 'column')} with "
            "the same value in every row; the likelihood would grow without bound. Drop it."
        )
    _check_duplicated(array, name, labels, np.stack([low, high]))
    return array


def _as_float_array(x: ArrayLike, name: str, dtype: DTypeLike | None) -> np.ndarray:
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name} cannot be made into an array (n, d): {error}") from error
    kind = array.dtype.kind
    if kind == "f":
        with np.errstate(over="ignore"):  # the check names the cells that overflow
            return array if dtype is None else array.astype(dtype)
    if kind in "iu":
        raise TypeError(
            f"{name} has type {array.dtype}; discrete data has no density. Dequantise it with "
            "fl.data.dequantize, or cast it with .astype(float) if it is truly continuous."
        )
    fix = {
        "c": "Stack its real and imaginary parts as columns.",
        "b": "A flag has no density: drop it or give it as a condition, cast with .astype(float).",
    }.get(kind, "Convert it with .astype(float).")
    raise TypeError(f"{name} has type {array.dtype}; expected real floats. {fix}")


def _check_shape(array: np.ndarray, name: str) -> None:
    if array.ndim != 2:
        fix = "x[:, None] makes one column" if array.ndim == 1 else "x.reshape(len(x), -1) flattens"
        raise ValueError(
            f"{name} has shape {array.shape}; expected (n, d), a row for each event; {fix}."
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}. Give at least one row.")


def _check_finite(array: np.ndarray, name: str, labels: list[str]) -> None:
    finite = np.isfinite(array)
    if finite.all():
        return
    row, column = np.unravel_index(np.argmin(finite), finite.shape)
    raise ValueError(
        f"{name} has {finite.size - np.count_nonzero(finite)} NaN or infinite cells, the first "
        f"({array[row, column]}) in row {row} (counted from 0), column {labels[column]}. Drop or "
        "fill those rows; a number beyond 3.4e38 is infinite in float32."
    )


def _check_duplicated(
    array: np.ndarray, name: str, labels: list[str], extremes: np.ndarray
) -> None:
    # Equal columns have equal extremes, so only columns that share them are read again.
    _, group, size = np.unique(extremes, axis=1, return_inverse=True, return_counts=True)
    same: dict[bytes, list[int]] = defaultdict(list)
    for j in np.flatnonzero(size[group] > 1):
        column = array[:, j] + 0.0  # -0.0 becomes 0.0, which is equal but has other bytes
        same[blake2b(column.tobytes()).digest()].append(int(j))
    copies = [f"{labels[j]} = {labels[first]}" for first, *others in same.values() for j in others]
    if copies:
        raise ValueError(
            f"{name} has {_listed(copies, 'duplicated column')}; the likelihood would grow "
            "without bound. Keep one of each."
        )


def _listed(items: list[str], noun: str) -> str:
    text = ", ".join(items[:_MOST_NAMED]) + (", ..." if len(items) > _MOST_NAMED else "")
    return f"{len(items)} {noun}{'s' if len(items) > 1 else ''} ({text})"
