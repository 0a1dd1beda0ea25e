"""Transformers, each as a bijector with parameters of its own."""

from flowjax_lite.bijectors import Independent
from flowjax_lite.transformers import (
    AbstractTransformer,
    Additive,
    Affine,
    DeepDenseSigmoid,
    DeepSigmoid,
    MonotonicNetwork,
    RationalQuadraticSpline,
)
from registry.item import DIM, Item

# Two bins have one inner knot; the interval ends inside the domain, so tails are met too.
SPLINE = RationalQuadraticSpline(num_bins=2, bound=2.0)
# Tried in both kinds of layers, with both kinds of networks.
CORE: dict[str, AbstractTransformer] = {
    "Additive": Additive(),
    "Affine": Affine(),
    "RationalQuadraticSpline": SPLINE,
}
# Real numbers to real numbers; tried once in each kind of layer.
MONOTONE: dict[str, AbstractTransformer] = {
    "DeepSigmoid": DeepSigmoid(num_units=2),
    "DeepDenseSigmoid": DeepDenseSigmoid(num_units=2, num_layers=2),
    # The interval ends inside the domain, so tails are met too.
    "MonotonicNetwork": MonotonicNetwork(hidden=(2, 2), bound=2.0, num_nodes=16),
}

TRANSFORMERS = {
    name: Item(lambda rngs, transformer=transformer: Independent(transformer, DIM))
    for name, transformer in (CORE | MONOTONE).items()
}
