"""A map of some channels that leaves the others as they are."""

from typing import Self

import jax.numpy as jnp
from jax import Array

from flowjax_lite.bijectors.base import AbstractBijector, Part, Renew, with_parts
from flowjax_lite.core.checks import check_positive_int


class FirstChannels(AbstractBijector):
    """Apply a bijector to the first channels, on the last axis; the others pass through.

    What passes is latent already. So factoring out, by which an image flow models its scales one
    after the other, changes no shape: the latent of an image is an image.

    RealNVP: Dinh, Sohl-Dickstein and Bengio, 2017, arXiv:1605.08803, section 3.6.
    """

    def __init__(self, bijector: AbstractBijector, num_channels: int) -> None:
        """Add channels to those that a bijector acts on.

        Args:
            bijector: a map of the first channels, of events of any rank.
            num_channels: number of all channels.

        Raises:
            ValueError: the bijector has more channels than there are.
        """
        *leading, moved = bijector.event_shape
        if check_positive_int(num_channels, "num_channels") < moved:
            raise ValueError(
                f"num_channels is {num_channels}, of which the bijector would take the first "
                f"{moved}, by its event shape {bijector.event_shape}"
            )
        self.bijector = bijector
        self.event_shape = (*leading, num_channels)
        self.condition_shape = bijector.condition_shape

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        moved, kept = self._split(x)
        moved, log_det = self.bijector.forward_and_log_det(moved, condition, key)
        return jnp.concatenate([moved, kept], axis=-1), log_det

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        moved, kept = self._split(y)
        moved, log_det = self.bijector.inverse_and_log_det(moved, condition, key)
        return jnp.concatenate([moved, kept], axis=-1), log_det

    def parts(self) -> list[Part]:
        num_channels = self.event_shape[-1]
        return [
            Part(FirstChannels(layer, num_channels), forward)
            for layer, forward in self.bijector.parts()
        ]

    def scales(self) -> Array:
        scales = self.bijector.scales() + 1
        kept = self.event_shape[-1] - scales.shape[-1]
        return jnp.pad(scales, [*[(0, 0)] * (scales.ndim - 1), (0, kept)])

    def _renewed(
        self, renew: Renew, batch: Array, condition: Array | None, weights: Array, *, forward: bool
    ) -> tuple[Self, Array]:
        moved, kept = self._split(batch)
        new, moved = self.bijector.renewed(renew, moved, condition, weights, forward=forward)
        return with_parts(self, bijector=new), jnp.concatenate([moved, kept], axis=-1)

    def _split(self, x: Array) -> tuple[Array, Array]:
        moved, kept = jnp.split(x, [self.bijector.event_shape[-1]], axis=-1)
        return moved, kept
