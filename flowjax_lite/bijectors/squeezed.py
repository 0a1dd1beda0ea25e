"""A map of an image whose small squares of pixels have become channels, or tokens."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import jax
from jax import Array

from flowjax_lite.bijectors.base import AbstractBijector, Part, Renew, with_parts
from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.numerics.pixels import depth_to_space, space_to_depth

# The two pixels on one diagonal of a square come before the two on the other.
CHECKERBOARD = (0, 3, 1, 2)


class AbstractRearranged(AbstractBijector):
    """Apply a bijector to an event whose entries have been moved, and move them back.

    Attributes:
        bijector: the map of the other shape.
    """

    bijector: AbstractBijector

    @abstractmethod
    def _there(self, x: Array) -> Array:
        """The event as the bijector sees it."""

    @abstractmethod
    def _back(self, x: Array) -> Array:
        """The event that `_there` makes x of."""

    @abstractmethod
    def _around(self, layer: AbstractBijector) -> AbstractBijector:
        """The same rearrangement around another bijector."""

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        y, log_det = self.bijector.forward_and_log_det(self._there(x), condition, key)
        return self._back(y), log_det

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        x, log_det = self.bijector.inverse_and_log_det(self._there(y), condition, key)
        return self._back(x), log_det

    def parts(self) -> list[Part]:
        return [Part(self._around(layer), forward) for layer, forward in self.bijector.parts()]

    def scales(self) -> Array:
        return self._back(self.bijector.scales())

    def _renewed(
        self, renew: Renew, batch: Array, condition: Array | None, weights: Array, *, forward: bool
    ) -> tuple[Self, Array]:
        batch = jax.vmap(self._there)(batch)
        new, batch = self.bijector.renewed(renew, batch, condition, weights, forward=forward)
        return with_parts(self, bijector=new), jax.vmap(self._back)(batch)


class Squeezed(AbstractRearranged):
    """Apply a bijector to an image with each square of size × size pixels moved into channels.

    The image keeps its shape (height, width, channels); the bijector within sees
    (height / size, width / size, size² · channels), the pixels of a square one after the other.
    Their order says what the first half of these channels is, which a `Coupling` within keeps and
    a `FirstChannels` goes on with: the upper row, or by the order `CHECKERBOARD` the pixels of one
    colour. So a coupling by a checkerboard is this around a coupling of channels, without masks,
    at a quarter of the convolutions' cost.

    RealNVP: Dinh, Sohl-Dickstein and Bengio, 2017, arXiv:1605.08803, sections 3.4 to 3.6.
    """

    def __init__(
        self, bijector: AbstractBijector, *, size: int = 2, order: Sequence[int] | None = None
    ) -> None:
        """Put a bijector around which pixels are rearranged.

        Args:
            bijector: a map of images (height, width, channels), channels a multiple of size².
            size: height and width of a square.
            order: of the size² pixels of a square, which are counted row by row; None is (0, 1, …).

        Raises:
            ValueError: the bijector takes no such images, or order is no order of the pixels.
        """
        number = check_positive_int(size, "size") ** 2
        shape = bijector.event_shape
        if len(shape) != 3 or shape[2] % number:
            raise ValueError(
                f"bijector has event shape {shape}; expected (height, width, channels) with "
                f"channels a multiple of size² = {number}, as each square becomes a pixel"
            )
        order = tuple(range(number)) if order is None else tuple(order)
        if sorted(order) != list(range(number)):
            raise ValueError(f"order is {order}; expected each of 0 … {number - 1} exactly once")
        self.bijector, self.size, self.order = bijector, size, order
        self.event_shape = shape[0] * size, shape[1] * size, shape[2] // number
        self.condition_shape = bijector.condition_shape

    def _there(self, x: Array) -> Array:
        return space_to_depth(x, self.size, self.order)

    def _back(self, x: Array) -> Array:
        return depth_to_space(x, self.size, self.order)

    def _around(self, layer: AbstractBijector) -> "Squeezed":
        return Squeezed(layer, size=self.size, order=self.order)


class Patched(AbstractRearranged):
    """Apply a bijector of tokens to an image whose squares of pixels are the tokens, row by row.

    TarFlow: Zhai et al., 2024, arXiv:2412.06329, section 3.
    """

    def __init__(
        self, bijector: AbstractBijector, image_shape: tuple[int, int, int], *, size: int
    ) -> None:
        """Put a bijector around which an image becomes tokens.

        Args:
            bijector: a map of (tokens, features), with a token for each square and
                size² · channels features.
            image_shape: (height, width, channels), sides multiples of size.
            size: height and width of a square.

        Raises:
            ValueError: the bijector takes other tokens, or size does not divide a side.
        """
        expected = token_shape(image_shape, size)
        if bijector.event_shape != expected:
            raise ValueError(
                f"bijector has event shape {bijector.event_shape}; expected {expected}, a token "
                f"for each of the squares of {size} × {size} pixels of an image {image_shape}"
            )
        self.bijector, self.size = bijector, size
        self.event_shape = tuple(image_shape)
        self.condition_shape = bijector.condition_shape

    def _there(self, x: Array) -> Array:
        return space_to_depth(x, self.size, range(self.size**2)).reshape(self.bijector.event_shape)

    def _back(self, x: Array) -> Array:
        height, width = (length // self.size for length in self.event_shape[:2])
        return depth_to_space(x.reshape(height, width, -1), self.size, range(self.size**2))

    def _around(self, layer: AbstractBijector) -> "Patched":
        return Patched(layer, self.event_shape, size=self.size)  # type: ignore[arg-type]


def token_shape(image_shape: tuple[int, int, int], size: int) -> tuple[int, int]:
    """(tokens, features) of an image whose squares are tokens.

    Raises:
        ValueError: size does not divide height and width.
    """
    height, width, channels = image_shape
    if height % check_positive_int(size, "size") or width % size:
        raise ValueError(
            f"image_shape is {image_shape}, and squares have {size} × {size} pixels: expected "
            f"multiples of {size}; take other squares, or pad the images"
        )
    return (height // size) * (width // size), size**2 * channels
