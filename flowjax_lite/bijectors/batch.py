"""A batch on its way through a bijector, whose normalising layers are renewed as it arrives."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.bijectors.channelwise import Channelwise
from flowjax_lite.bijectors.compose import Chain, Invert, condition_of
from flowjax_lite.bijectors.normalization import AbstractNormalization
from flowjax_lite.bijectors.repeat import Repeat

# A layer, the batch that reaches it, weights, whether it comes forward -> the layer to use.
Renew: TypeAlias = Callable[[AbstractNormalization, Array, Array, bool], AbstractNormalization]


def renew_with_batch(
    bijector: AbstractBijector,
    batch: Array,
    condition: Array | None,
    weights: Array,
    renew: Renew,
    *,
    forward: bool = False,
) -> tuple[AbstractBijector, Array]:
    """Send a batch through, replacing each normalising layer by one made from what reaches it.

    Args:
        bijector: the map; it is left as it is.
        batch: (rows, *event_shape).
        condition: (rows, *condition_shape), or None.
        weights: (rows,).
        renew: makes the new layer.
        forward: the direction; by default from the data side to the latent side.

    Returns:
        A bijector of the same structure, and the batch as it leaves that.

    Raises:
        TypeError: a normalising layer lies inside a bijector that is no composition.
    """
    condition = condition_of(bijector, condition)
    if not holds(bijector, AbstractNormalization):
        return bijector, _apply(bijector, batch, condition, forward)
    match bijector:
        case AbstractNormalization():
            layer = renew(bijector, batch, weights, forward)
            return layer, _apply(layer, batch, condition, forward)
        case Chain():
            parts = list(bijector.bijectors)
            for i in range(len(parts)) if forward else reversed(range(len(parts))):
                parts[i], batch = renew_with_batch(
                    parts[i], batch, condition, weights, renew, forward=forward
                )
            return _with(bijector, bijectors=nnx.List(parts)), batch
        case Invert():
            inner, batch = renew_with_batch(
                bijector.bijector, batch, condition, weights, renew, forward=not forward
            )
            return _with(bijector, bijector=inner), batch
        case Repeat():
            layers, batch = _scan(bijector, batch, condition, weights, renew, forward)
            return _with(bijector, layers=layers), batch
        case Channelwise():
            positions = batch[0, ..., 0].size
            vectors = batch.reshape(-1, batch.shape[-1])
            inner, vectors = renew_with_batch(
                bijector.bijector,
                vectors,
                None if condition is None else jnp.repeat(condition, positions, axis=0),
                jnp.repeat(weights, positions),
                renew,
                forward=forward,
            )
            return _with(bijector, bijector=inner), vectors.reshape(batch.shape)
    raise TypeError(
        f"{type(bijector).__name__} holds a normalising layer, and a batch cannot be followed "
        f"inside it: build the layer into a Chain, Repeat, Invert or Channelwise"
    )


def holds(module: nnx.Module, kind: type) -> bool:
    """Whether a module is, or has somewhere inside, a module of a kind."""
    nodes = jax.tree.leaves(module, is_leaf=lambda node: isinstance(node, kind))
    return any(isinstance(node, kind) for node in nodes)


def _apply(
    bijector: AbstractBijector, batch: Array, condition: Array | None, forward: bool
) -> Array:
    return jax.vmap(bijector.forward if forward else bijector.inverse)(batch, condition)


def _scan(
    repeat: Repeat,
    batch: Array,
    condition: Array | None,
    weights: Array,
    renew: Renew,
    forward: bool,
) -> tuple[AbstractBijector, Array]:
    """Layer after layer, as `Repeat` does."""

    def body(batch: Array, layer: AbstractBijector) -> tuple[Array, AbstractBijector]:
        layer, batch = renew_with_batch(layer, batch, condition, weights, renew, forward=forward)
        return batch, layer

    if repeat.gradient != "store":  # a layer cannot be run back before its statistics are known
        body = jax.checkpoint(body, prevent_cse=False)
    batch, layers = lax.scan(
        body, batch, repeat.layers, length=repeat.num_layers, reverse=not forward
    )
    return layers, batch


def _with(module: Any, **parts: Any) -> Any:
    """A copy with other parts: the same structure, down to the recipe."""
    copy = jax.tree.map(lambda leaf: leaf, module)
    for name, part in parts.items():
        setattr(copy, name, part)
    return copy
