"""Coupling layers: one part of the event steers the transformation of the other."""

from typing import Protocol

import jax.numpy as jnp
from jax import Array

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.transformers import AbstractTransformer


class Conditioner(Protocol):
    """A network from (in_dim,) and a condition to parameters (num_params, out_dim)."""

    in_dim: int
    out_shape: tuple[int, ...]
    condition_shape: tuple[int, ...] | None

    def __call__(self, x: Array, condition: Array | None = None) -> Array: ...


class Coupling(AbstractBijector):
    """Keep the first part of the event; transform the rest with parameters made from it.

    Both directions cost one pass of the network. Put permutations or linear maps between
    coupling layers, or the first part never changes.

    NICE: Dinh et al., 2014, arXiv:1410.8516, section 3.2.
    """

    def __init__(self, transformer: AbstractTransformer, conditioner: Conditioner) -> None:
        """Join a transformer and a network.

        Args:
            transformer: the scalar map.
            conditioner: a network such as `MLP(a, out_shape=(transformer.num_params, b))`: the
                event has dimension a + b, and its first a entries pass through.

        Raises:
            ValueError: the network's output does not fit the transformer.
        """
        shape = conditioner.out_shape
        if len(shape) != 2 or shape[0] != transformer.num_params:
            raise ValueError(
                f"the conditioner's out_shape is {shape}; {type(transformer).__name__} expects "
                f"({transformer.num_params}, number of transformed entries)"
            )
        self.event_shape = (conditioner.in_dim + shape[1],)
        self.condition_shape = conditioner.condition_shape
        self.transformer = transformer
        self.conditioner = conditioner

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        kept, moved = jnp.split(x, [self.conditioner.in_dim])
        params = self.conditioner(kept, condition)
        moved, log_det = self.transformer.forward_and_log_det(params, moved)
        return jnp.concatenate([kept, moved]), jnp.sum(log_det)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        kept, moved = jnp.split(y, [self.conditioner.in_dim])
        params = self.conditioner(kept, condition)
        moved, log_det = self.transformer.inverse_and_log_det(params, moved)
        return jnp.concatenate([kept, moved]), jnp.sum(log_det)
