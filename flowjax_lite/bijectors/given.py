"""Numbers given by hand, as the raw parameters of a learned layer: what `from_arrays` shares."""

from typing import Any

import numpy as np

_ROUNDING = 1e-5  # what single precision leaves of the products of orthonormal columns


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
    refuse(array, ~np.isfinite(array), name, "finite numbers")
    return array


def given_pair(loc: Any, scale: Any, names: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of the shape of the first; the second may be one number for all entries.

    Raises:
        ValueError: their shapes differ, or a number is not finite.
    """
    loc, scale = (given_array(v, name) for v, name in zip((loc, scale), names, strict=True))
    if scale.shape not in ((), loc.shape):
        raise ValueError(
            f"{names[1]} has shape {scale.shape}; expected that of {names[0]}, {loc.shape}"
        )
    return loc, np.broadcast_to(scale, loc.shape)


def given_square(value: Any, name: str) -> np.ndarray:
    """A matrix (dim, dim).

    Raises:
        ValueError: it has another shape, or a number is not finite.
    """
    matrix = given_array(value, name)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(
            f"{name} has shape {matrix.shape}; expected a square one, (dim, dim): a map "
            f"between different dimensions has no inverse"
        )
    return matrix


def given_matrix_and_shift(matrix: Any, shift: Any) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of an affine map, (dim, dim) and (dim,); a shift of None is zero.

    Raises:
        ValueError: a shape is another, or a number is not finite.
    """
    matrix = given_square(matrix, "matrix")
    dim = len(matrix)
    return matrix, given_array(np.zeros(dim) if shift is None else shift, "shift", (dim,))


def orthonormal(matrix: np.ndarray, name: str) -> np.ndarray:
    """A matrix (dim, rank) whose columns are orthonormal up to rounding, without the rounding.

    Raises:
        ValueError: they are not.
    """
    error = np.max(np.abs(matrix.T @ matrix - np.eye(matrix.shape[1])))
    if error > _ROUNDING:
        raise ValueError(
            f"{name} has no orthonormal columns: {name}ᵀ · {name} differs from the identity by "
            f"{error:.2g}; expected at most {_ROUNDING:g}, as for np.linalg.qr({name})[0]"
        )
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right


def reflections_of(q: np.ndarray) -> np.ndarray:
    """The vectors of reflections whose product starts with the columns of q.

    Args:
        q: (dim, rank), its columns orthonormal.

    Returns:
        (rank, dim), the first one applied first; of length one, or zero where a column needs none.
    """
    vectors = np.zeros(q.shape[::-1])
    for i, v in enumerate(vectors):
        # Mirrors column i to the unit vector i and keeps those before it, which are there already.
        v[i:] = q[i:, i]
        rest = v[i + 1 :] @ v[i + 1 :]
        v[i] = -rest / (1 + v[i]) if v[i] > 0 else v[i] - 1  # v[i] - 1, but for cancellation
        length = np.linalg.norm(v)
        v[:] = v / length if length else 0.0
        q = q - np.outer(2 * v, v @ q)
    return vectors[::-1]  # q is what undoes them, the last one first


def as_dim(shape: tuple[int, ...]) -> int | tuple[int, ...]:
    """A shape as a user writes `dim`: a number for vectors, so that recipes are the same."""
    return shape[0] if len(shape) == 1 else shape


def before_soft_clip(value: np.ndarray, bound: float, name: str) -> np.ndarray:
    """The raw numbers of which `soft_clip` with that bound makes these.

    Raises:
        ValueError: a number is not within the bound.
    """
    expected = f"numbers between -{bound:g} and {bound:g}, as it is bounded"
    refuse(value, np.abs(value) >= bound, name, expected)
    return bound * np.arctanh(value / bound)


def before_scale(value: np.ndarray, bound: float, name: str) -> np.ndarray:
    """The raw numbers of which `exp(log_scale(raw, bound))` makes these scales.

    Raises:
        ValueError: a scale is not positive, or beyond the bound.
    """
    low, high = np.exp(-bound), np.exp(bound)
    expected = f"positive numbers between {low:.3g} and {high:.3g}"
    refuse(value, (value <= low) | (value >= high), name, expected)
    return bound * np.arctanh(np.log(value) / bound)


def refuse(array: np.ndarray, bad: np.ndarray, name: str, expected: str) -> None:
    """Raise for the first entry that is bad, if there is one.

    Raises:
        ValueError: there is one.
    """
    places = np.argwhere(bad)
    if len(places):  # of a single number, one place of no axes
        index = tuple(places[0].tolist())
        entry = name + (str(list(index)) if index else "")
        raise ValueError(f"{entry} is {array[index]:g}; expected {expected}")
