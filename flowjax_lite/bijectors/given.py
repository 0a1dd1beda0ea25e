"""Numbers given by hand, as the raw parameters of a learned layer: what `from_arrays` shares."""

from typing import Any

import numpy as np


def given_array(value: Any, name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Numbers as a float64 array, checked.

    Args:
        value: anything that numpy makes an array of.
        name: what the argument is called.
        shape: the shape that it must have; None for any.

    Raises:
        ValueError: it has another shape, or a number is not finite.
    """
    array = np.asarray(value, np.float64)
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {shape}")
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        _refuse(array, bad[0], name, "finite numbers")
    return array


def as_dim(shape: tuple[int, ...]) -> int | tuple[int, ...]:
    """A shape as a user writes `dim`: a number for vectors, so that recipes are the same."""
    return shape[0] if len(shape) == 1 else shape


def before_soft_clip(value: np.ndarray, bound: float, name: str) -> np.ndarray:
    """The raw numbers of which `soft_clip` with that bound makes these.

    Raises:
        ValueError: a number is not within the bound.
    """
    bad = np.argwhere(np.abs(value) >= bound)
    if bad.size:
        _refuse(value, bad[0], name, f"numbers between -{bound:g} and {bound:g}, as it is bounded")
    return bound * np.arctanh(value / bound)


def before_scale(value: np.ndarray, bound: float, name: str) -> np.ndarray:
    """The raw numbers of which `exp(log_scale(raw, bound))` makes these scales.

    Raises:
        ValueError: a scale is not positive, or beyond the bound.
    """
    low, high = np.exp(-bound), np.exp(bound)
    bad = np.argwhere((value <= low) | (value >= high))
    if bad.size:
        _refuse(value, bad[0], name, f"positive numbers between {low:.3g} and {high:.3g}")
    return bound * np.arctanh(np.log(value) / bound)


def _refuse(array: np.ndarray, place: np.ndarray, name: str, expected: str) -> None:
    index = tuple(place.tolist())
    entry = name + (str(list(index)) if index else "")
    raise ValueError(f"{entry} is {array[index]:g}; expected {expected}")
