"""Coupling layers: one part of the event steers the transformation of the other."""

from typing import Protocol

import jax.numpy as jnp
from jax import Array

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.conditioners.base import in_shape
from flowjax_lite.transformers import AbstractTransformer


class Conditioner(Protocol):
    """A network to parameters (num_params, ..., moved channels).

    It takes a vector (in_dim,), or, with an attribute in_shape, an array of that shape.
    """

    out_shape: tuple[int, ...]
    condition_shape: tuple[int, ...] | None

    def __call__(self, x: Array, condition: Array | None = None) -> Array: ...


class Coupling(AbstractBijector):
    """Keep the first channels of the event; transform the others with parameters made from them.

    The channels are the last axis: the entries of a vector, the channels of an image. Both
    directions cost one pass of the network. Put permutations or linear maps between coupling
    layers, or the first part never changes. Other partitions of images, such as a checkerboard,
    come by a `Squeezed` around.

    NICE: Dinh et al., 2014, arXiv:1410.8516, section 3.2.
    """

    def __init__(self, transformer: AbstractTransformer, conditioner: Conditioner) -> None:
        """Join a transformer and a network.

        Args:
            transformer: the scalar map.
            conditioner: a network such as `MLP(a, out_shape=(transformer.num_params, b))`: the
                event has dimension a + b, and its first a entries pass through. For images one
                such as `ConvNet((h, w, a), out_channels=b, num_params=transformer.num_params)`.

        Raises:
            ValueError: the network's output does not fit the transformer.
        """
        *leading, kept = in_shape(conditioner)
        out_shape = conditioner.out_shape
        if out_shape[:-1] != (transformer.num_params, *leading):
            axes = "".join(f"{length}, " for length in leading)
            raise ValueError(
                f"the conditioner's out_shape is {out_shape}; "
                f"{type(transformer).__name__} expects ({transformer.num_params}, {axes}number of "
                f"transformed {'channels' if leading else 'entries'})"
            )
        self.event_shape = (*leading, kept + out_shape[-1])
        self.condition_shape = conditioner.condition_shape
        self.transformer = transformer
        self.conditioner = conditioner

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        kept, moved = self._split(x)
        params = self.conditioner(kept, condition)
        moved, log_det = self.transformer.forward_and_log_det(params, moved)
        return jnp.concatenate([kept, moved], axis=-1), jnp.sum(log_det)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        kept, moved = self._split(y)
        params = self.conditioner(kept, condition)
        moved, log_det = self.transformer.inverse_and_log_det(params, moved)
        return jnp.concatenate([kept, moved], axis=-1), jnp.sum(log_det)

    def _split(self, x: Array) -> tuple[Array, Array]:
        kept, moved = jnp.split(x, [in_shape(self.conditioner)[-1]], axis=-1)
        return kept, moved
