"""Squares of pixels as channels, and back."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array


def space_to_depth(x: Array, size: int, order: Sequence[int]) -> Array:
    """Move each square of pixels into the channels.

    Args:
        x: (height, width, channels), sides multiples of size.
        size: height and width of a square.
        order: of the size² pixels of a square, which are counted row by row.

    Returns:
        (height / size, width / size, size² · channels), pixel after pixel.
    """
    height, width, channels = x.shape
    squares = x.reshape(height // size, size, width // size, size, channels)
    squares = squares.transpose(0, 2, 1, 3, 4).reshape(*squares.shape[0:3:2], size**2, channels)
    return _reordered(squares, order).reshape(*squares.shape[:2], -1)


def depth_to_space(x: Array, size: int, order: Sequence[int]) -> Array:
    """The image of which `space_to_depth` makes x.

    Args:
        x: (height, width, size² · channels).
        size: as there.
        order: as there.

    Returns:
        (size · height, size · width, channels).
    """
    height, width, _ = x.shape
    squares = x.reshape(height, width, size**2, -1)
    squares = _reordered(squares, np.argsort(order)).reshape(height, width, size, size, -1)
    return squares.transpose(0, 2, 1, 3, 4).reshape(size * height, size * width, -1)


def _reordered(squares: Array, order: Sequence[int] | np.ndarray) -> Array:
    """Squares (height, width, pixels, channels) in another order of their pixels."""
    if list(order) == sorted(order):
        return squares
    return jnp.stack([squares[:, :, i] for i in order], axis=2)
