"""Bijectors made of bijectors."""

import functools
from collections.abc import Sequence
from typing import Self, overload

import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.bijectors.base import (
    AbstractBijector,
    Part,
    Renew,
    condition_of,
    split_key,
    with_parts,
)
from flowjax_lite.core.checks import merge_condition_shapes


class Chain(AbstractBijector):
    """Apply bijectors one after the other, the first one next to the latent."""

    def __init__(self, bijectors: Sequence[AbstractBijector]) -> None:
        """Join bijectors.

        Args:
            bijectors: at least one, in the order of the forward direction.

        Raises:
            ValueError: there are none, or their event or condition shapes differ.
        """
        if not bijectors:
            raise ValueError("bijectors is empty; a Chain needs at least one")
        shapes = {bijector.event_shape for bijector in bijectors}
        if len(shapes) > 1:
            raise ValueError(
                f"the bijectors have event shapes {[b.event_shape for b in bijectors]}; a Chain "
                f"needs one shape for all: build each with the same dim"
            )
        self.bijectors = nnx.List(bijectors)
        self.event_shape = shapes.pop()
        self.condition_shape = merge_condition_shapes([b.condition_shape for b in bijectors])

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        total = jnp.zeros((), x.dtype)
        for bijector, k in zip(self.bijectors, split_key(key, len(self.bijectors)), strict=True):
            x, log_det = bijector.forward_and_log_det(x, condition_of(bijector, condition), k)
            total += log_det
        return x, total

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        total = jnp.zeros((), y.dtype)
        keys = split_key(key, len(self.bijectors))
        for bijector, k in zip(reversed(self.bijectors), reversed(keys), strict=True):
            y, log_det = bijector.inverse_and_log_det(y, condition_of(bijector, condition), k)
            total += log_det
        return y, total

    def forward(self, x: Array, condition: Array | None = None) -> Array:
        for bijector in self.bijectors:
            x = bijector.forward(x, condition_of(bijector, condition))
        return x

    def inverse(self, y: Array, condition: Array | None = None) -> Array:
        for bijector in reversed(self.bijectors):
            y = bijector.inverse(y, condition_of(bijector, condition))
        return y

    def __len__(self) -> int:
        return len(self.bijectors)

    @overload
    def __getitem__(self, index: int) -> AbstractBijector: ...

    @overload
    def __getitem__(self, index: slice) -> "Chain": ...

    def __getitem__(self, index: int | slice) -> AbstractBijector:
        """One bijector, or the Chain of a slice of them."""
        chosen = list(self.bijectors)[index]
        return Chain(chosen) if isinstance(chosen, list) else chosen

    def parts(self) -> list[Part]:
        return [part for bijector in self.bijectors for part in bijector.parts()]

    def scales(self) -> Array:
        return functools.reduce(jnp.maximum, [bijector.scales() for bijector in self.bijectors])

    def _renewed(
        self, renew: Renew, batch: Array, condition: Array | None, weights: Array, *, forward: bool
    ) -> tuple[Self, Array]:
        new = list(self.bijectors)
        for i in range(len(new)) if forward else reversed(range(len(new))):
            new[i], batch = new[i].renewed(renew, batch, condition, weights, forward=forward)
        return with_parts(self, bijectors=nnx.List(new)), batch


class Invert(AbstractBijector):
    """A bijector with its two directions exchanged."""

    def __init__(self, bijector: AbstractBijector) -> None:
        """Turn a bijector around.

        Args:
            bijector: its inverse becomes the forward direction.
        """
        self.bijector = bijector
        self.event_shape = bijector.event_shape
        self.condition_shape = bijector.condition_shape

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return self.bijector.inverse_and_log_det(x, condition, key)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return self.bijector.forward_and_log_det(y, condition, key)

    def forward(self, x: Array, condition: Array | None = None) -> Array:
        return self.bijector.inverse(x, condition)

    def inverse(self, y: Array, condition: Array | None = None) -> Array:
        return self.bijector.forward(y, condition)

    def parts(self) -> list[Part]:
        return [part.turned() for part in reversed(self.bijector.parts())]

    def scales(self) -> Array:
        return self.bijector.scales()

    def _renewed(
        self, renew: Renew, batch: Array, condition: Array | None, weights: Array, *, forward: bool
    ) -> tuple[Self, Array]:
        new, batch = self.bijector.renewed(renew, batch, condition, weights, forward=not forward)
        return with_parts(self, bijector=new), batch


def unrolled(bijector: AbstractBijector) -> list[AbstractBijector]:
    """The layers of a composition, in the order of the forward direction.

    Args:
        bijector: any bijector; one that is no composition is its only layer.

    Returns:
        At least one bijector; a layer that runs backwards is wrapped in `Invert`.
    """
    return [layer if forward else Invert(layer) for layer, forward in bijector.parts()]
