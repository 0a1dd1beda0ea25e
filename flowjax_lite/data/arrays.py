"""What users bring, as arrays: frames, tensors and lists; refused where something would be lost."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from flowjax_lite.core.checks import refuse_masked


def frame_columns(x: Any) -> dict[str, np.ndarray] | None:
    """Return the columns of a table whose columns have names.

    Args:
        x: A frame or a series of pandas or polars, or a mapping from names to columns.

    Returns:
        The columns, `(n,)` each, by name; None for anything else.

    Raises:
        ValueError: Two columns have the same name, columns differ in length, or cells are masked.
    """
    if hasattr(x, "iter_columns"):  # polars
        pairs = [(column.name, column) for column in x.iter_columns()]
    elif isinstance(x, Mapping) or (hasattr(x, "columns") and hasattr(x, "items")):
        pairs = list(x.items())
    elif hasattr(x, "to_numpy") and hasattr(x, "name") and len(x.shape) == 1:  # one column
        pairs = [(x.name, x)]
    else:
        return None
    columns: dict[str, np.ndarray] = {}
    for name, column in pairs:
        refuse_masked(column, f"column {name!r}")
        if str(name) in columns:
            raise ValueError(f"the table has several columns {str(name)!r}; rename all but one")
        columns[str(name)] = np.asarray(column)
        (first, values), shape = next(iter(columns.items())), columns[str(name)].shape
        if len(shape) != 1 or shape != values.shape:
            raise ValueError(
                f"column {name!r} has shape {shape}; expected (n,), and the same n as column "
                f"{first!r} of shape {values.shape}"
            )
    return columns


def column_names(x: Any) -> tuple[str, ...] | None:
    """Return the names of the columns of a frame; None for what has no names."""
    columns = frame_columns(x)
    return None if columns is None else tuple(columns)


def as_array(x: Any, *, name: str) -> np.ndarray:
    """Return what a user gave as an array, of its own type.

    Args:
        x: An array, a frame of pandas or polars, a tensor of PyTorch, or nested lists.
        name: What messages call it.

    Returns:
        The array; `(n, d)` for a frame, with its columns side by side.

    Raises:
        TypeError: A column of a frame holds no numbers, or x is a path or a data set.
        ValueError: Cells are masked, or the lists are ragged.
    """
    columns = frame_columns(x)
    if columns is not None:
        for column, values in columns.items():
            if values.dtype.kind not in "fiub":
                raise TypeError(
                    f"{name} has column {column!r} of type {values.dtype}; expected numbers. Leave "
                    "it out, or encode words as a condition: fl.data.infer_schema(frame) makes a "
                    "schema, whose to_array gives numbers."
                )
        return np.stack(list(columns.values()), axis=1) if columns else np.empty((0, 0))
    if hasattr(x, "detach"):  # a tensor of PyTorch, which may need gradients or lie on a GPU
        x = x.detach().cpu()
    if isinstance(x, str | PathLike):
        raise TypeError(
            f"{name} is the path {str(x)!r}; expected rows. fl.data.load reads a file and divides "
            "its rows, fl.data.stream leaves them where they lie."
        )
    for part in ("train", "x"):  # a data set or a part of one
        if hasattr(x, part):
            raise TypeError(
                f"{name} is a {type(x).__name__}; expected rows. Give one of its arrays, such as "
                "data.train.x and data.train.condition."
            )
    for values in x if isinstance(x, list | tuple) else [x]:
        refuse_masked(values, name)
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name} cannot be made into an array (n, d): {error}") from error


def check_events(array: np.ndarray, name: str) -> None:
    """Check that an array has an axis of rows and one of events at least.

    Raises:
        ValueError: It has not.
    """
    if array.ndim < 2:
        raise ValueError(
            f"{name} has shape {array.shape}; expected (n, d), a row for each event; "
            "x[:, None] makes one column."
        )


def as_rows(
    x: Any, *, name: str, dtype: DTypeLike | None = None, whole_numbers: bool = False
) -> np.ndarray:
    """Return what a user gave as rows of real numbers, or say why it is none.

    Args:
        x: Data, `(n, d)` or `(n, *event_shape)`, of a float type; anything that `as_array` takes.
        name: What messages call it.
        dtype: Float type of the result; None keeps that of x. Numbers may overflow.
        whole_numbers: Cast whole numbers and flags to floats, as in conditions, which need no
            density; otherwise they are refused.

    Returns:
        The array, of x's shape.

    Raises:
        TypeError: Complex, integer, bool or other values that are not floats.
        ValueError: Wrong rank, no rows or columns, or what `as_array` refuses.
    """
    array = as_array(x, name=name)
    kind = array.dtype.kind
    if whole_numbers and kind in "iub":
        array = array.astype(dtype or np.float64)
    elif kind in "iu":
        raise TypeError(
            f"{name} has type {array.dtype}; discrete data has no density. Add noise by "
            "fl.data.dequantize_integers, or by fl.data.dequantize to grey levels; or cast it with "
            ".astype(float) if it is truly continuous."
        )
    elif kind != "f":
        fix = {
            "c": "Stack its real and imaginary parts as columns.",
            "b": "A flag has no density: drop it or give it as a condition.",
        }.get(kind, "Convert it with .astype(float).")
        raise TypeError(f"{name} has type {array.dtype}; expected real floats. {fix}")
    check_events(array, name)
    if array.size == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}. Give at least one row.")
    with np.errstate(over="ignore"):  # checks name the cells that overflow
        return array if dtype is None else array.astype(dtype, copy=False)
