"""A map of an image whose small squares of pixels have become channels."""

from collections.abc import Sequence
from typing import Self

import jax
from jax import Array

from flowjax_lite.bijectors.base import AbstractBijector, Part, Renew, with_parts
from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.numerics.pixels import depth_to_space, space_to_depth

# The two pixels on one diagonal of a square come before the two on the other.
CHECKERBOARD = (0, 3, 1, 2)


class Squeezed(AbstractBijector):
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

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        y, log_det = self.bijector.forward_and_log_det(self._squeeze(x), condition, key)
        return self._spread(y), log_det

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        x, log_det = self.bijector.inverse_and_log_det(self._squeeze(y), condition, key)
        return self._spread(x), log_det

    def parts(self) -> list[Part]:
        size, order = self.size, self.order
        return [
            Part(Squeezed(layer, size=size, order=order), forward)
            for layer, forward in self.bijector.parts()
        ]

    def _renewed(
        self, renew: Renew, batch: Array, condition: Array | None, weights: Array, *, forward: bool
    ) -> tuple[Self, Array]:
        batch = jax.vmap(self._squeeze)(batch)
        new, batch = self.bijector.renewed(renew, batch, condition, weights, forward=forward)
        return with_parts(self, bijector=new), jax.vmap(self._spread)(batch)

    def _squeeze(self, x: Array) -> Array:
        """The image as the bijector sees it."""
        return space_to_depth(x, self.size, self.order)

    def _spread(self, x: Array) -> Array:
        """The image that `_squeeze` makes x of."""
        return depth_to_space(x, self.size, self.order)
