"""One map of the channels at every position of an image or a sequence."""

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
from jax import Array

from flowjax_lite.bijectors.base import AbstractBijector, Renew, with_parts
from flowjax_lite.core.checks import check_positive_int


class Channelwise(AbstractBijector):
    """Apply a bijector of the channels, the last axis, at every position of the other axes.

    All positions share its parameters and the condition. With `PLU(c, rngs=rngs)` and (h, w) it
    is the invertible 1 × 1 convolution of Glow, and with `ActNorm(c)` its normalisation.

    Glow: Kingma and Dhariwal, 2018, arXiv:1807.03039, section 3.2.
    """

    def __init__(self, bijector: AbstractBijector, leading_shape: Sequence[int]) -> None:
        """Spread a bijector over positions.

        Args:
            bijector: a map of one vector (c,).
            leading_shape: the axes before the channels, such as (height, width).

        Raises:
            ValueError: the bijector does not take a vector, or an axis is empty.
        """
        if len(bijector.event_shape) != 1:
            raise ValueError(
                f"bijector has event shape {bijector.event_shape}; expected (channels,), as the "
                f"same map is applied at every position"
            )
        positions = tuple(check_positive_int(n, "an axis of leading_shape") for n in leading_shape)
        self.bijector = bijector
        self.event_shape = (*positions, *bijector.event_shape)
        self.condition_shape = bijector.condition_shape

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return self._map(x, condition, key, forward=True)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return self._map(y, condition, key, forward=False)

    def _map(
        self, value: Array, condition: Array | None, key: Array | None, *, forward: bool
    ) -> tuple[Array, Array]:
        bijector = self.bijector
        function = bijector.forward_and_log_det if forward else bijector.inverse_and_log_det
        vectors = value.reshape(-1, value.shape[-1])
        keys = None if key is None else jax.random.split(key, len(vectors))
        moved, log_dets = jax.vmap(function, in_axes=(0, None, 0))(vectors, condition, keys)
        return moved.reshape(value.shape), jnp.sum(log_dets)

    def _renewed(
        self, renew: Renew, batch: Array, condition: Array | None, weights: Array, *, forward: bool
    ) -> tuple[Self, Array]:
        positions = batch[0, ..., 0].size  # each is a row of its own
        condition = None if condition is None else jnp.repeat(condition, positions, axis=0)
        vectors = batch.reshape(-1, batch.shape[-1])
        weights = jnp.repeat(weights, positions)
        new, vectors = self.bijector.renewed(renew, vectors, condition, weights, forward=forward)
        return with_parts(self, bijector=new), vectors.reshape(batch.shape)
