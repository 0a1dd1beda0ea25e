"""Uniform dequantisation: from whole grey levels to values that have a density."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from flowjax_lite.data.arrays import as_array


def dequantize(u: ArrayLike, num_levels: int, *, seed: int | Sequence[int]) -> np.ndarray:
    """Spread each level evenly over its share of the unit interval.

    Args:
        u: Whole numbers 0 .. num_levels - 1, any shape, of an integer or float type.
        num_levels: Number of levels: 256 for bytes.
        seed: Seed of the noise.

    Returns:
        `(u + U[0, 1)) / num_levels`, float32, each strictly below the next level's share, so
        at least 0 and strictly less than 1.

    Raises:
        ValueError: A value is not one of the levels.

    Reference: Theis, van den Oord and Bethge (2016), arXiv:1511.01844.
    """
    levels = as_array(u, name="u")
    if levels.size and not (levels.min() >= 0 and levels.max() < num_levels):
        raise ValueError(
            f"u spans {levels.min()} to {levels.max()}; expected levels 0 to {num_levels - 1}. "
            "Set num_levels to the number of levels."
        )
    if levels.dtype.kind == "f" and np.any(levels != np.rint(levels)):
        raise ValueError("u holds fractions; expected whole levels. Was it dequantised already?")
    levels = levels.astype(np.float32)
    noise = np.random.default_rng(seed).random(levels.shape, dtype=np.float32)
    # In float32 a level plus a draw just below 1 may round up to the next level.
    below_next = np.nextafter((levels + 1) / np.float32(num_levels), np.float32(0))
    return np.minimum((levels + noise) / np.float32(num_levels), below_next)
