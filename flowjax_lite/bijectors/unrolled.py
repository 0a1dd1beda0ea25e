"""The parts of a composition, one after the other."""

import jax

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.bijectors.compose import Chain, Invert
from flowjax_lite.bijectors.repeat import Repeat


def unrolled(bijector: AbstractBijector) -> list[AbstractBijector]:
    """What `Chain`, `Repeat` and `Invert` are made of, in the order of the forward direction.

    Args:
        bijector: any bijector; one that is no composition is its only part.

    Returns:
        At least one bijector, none of them a `Chain` or a `Repeat`, nor an `Invert` of these.
    """
    match bijector:
        case Chain():
            return [part for inner in bijector.bijectors for part in unrolled(inner)]
        case Repeat():
            layers = [
                jax.tree.map(lambda leaf, i=i: leaf[i], bijector.layers)
                for i in range(bijector.num_layers)
            ]
            return [part for layer in layers for part in unrolled(layer)]
        case Invert():
            parts = reversed(unrolled(bijector.bijector))
            return [part.bijector if isinstance(part, Invert) else Invert(part) for part in parts]
    return [bijector]
