"""Turning what users give into rows of real numbers."""

import numpy as np
from numpy.typing import ArrayLike, DTypeLike


def as_rows(x: ArrayLike, *, name: str, dtype: DTypeLike | None = None) -> np.ndarray:
    """Return x as an array of rows, or say why it is none.

    Args:
        x: Data, `(n, d)`, of a float type.
        name: What messages call the array.
        dtype: Float type of the result; None keeps that of x. Numbers may overflow.

    Returns:
        The array, `(n, d)`.

    Raises:
        TypeError: Complex, integer, bool or other values that are not floats.
        ValueError: Wrong rank, or no rows or columns.
    """
    array = _as_float_array(x, name, dtype)
    if array.ndim != 2:
        fix = "x[:, None] makes one column" if array.ndim == 1 else "x.reshape(len(x), -1) flattens"
        raise ValueError(
            f"{name} has shape {array.shape}; expected (n, d), a row for each event; {fix}."
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}. Give at least one row.")
    return array


def _as_float_array(x: ArrayLike, name: str, dtype: DTypeLike | None) -> np.ndarray:
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name} cannot be made into an array (n, d): {error}") from error
    kind = array.dtype.kind
    if kind == "f":
        with np.errstate(over="ignore"):  # checks name the cells that overflow
            return array if dtype is None else array.astype(dtype, copy=False)
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
