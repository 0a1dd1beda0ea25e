"""What the named flows share: stacking layers between a base and the data."""

from collections.abc import Callable

from flax import nnx

from flowjax_lite.bijectors import (
    LU,
    AbstractBijector,
    Chain,
    Coupling,
    Invert,
    Logit,
    MaskedAutoregressive,
    Permutation,
    Repeat,
    Reverse,
    Standardize,
)
from flowjax_lite.conditioners import MADE, MLP, ResidualMADE, ResidualMLP
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.distributions import AbstractBase, Flow, StandardNormal
from flowjax_lite.transformers import AbstractTransformer


def stack(
    make_layer: Callable[[nnx.Rngs], AbstractBijector],
    *,
    dim: int,
    num_layers: int,
    reorder: bool = True,
    shuffle: bool = False,
    linear: bool = False,
    base: AbstractBase | None,
    data_map: AbstractBijector | None,
    condition_map: AbstractBijector | None,
    gradient: str,
    rngs: nnx.Rngs,
) -> Flow:
    """Repeat a layer, as a rule followed by a change of order, and close the flow.

    A base on an interval, such as `Uniform`, is mapped to the real numbers first.

    Args:
        make_layer: builds one layer.
        dim: dimension of an event.
        num_layers: number of layers.
        reorder: change the order after each layer, and mix; layers that treat all entries alike
            need neither.
        shuffle: change the order at random; otherwise reverse it. In two dimensions the
            reverse is the only other order.
        linear: also put a learned `LU` map after each layer.
        base: distribution of the latent; None is a standard normal.
        data_map: a fixed bijector from the layers' unit scale to the data, such as
            `Standardize.from_data(x)`; None for data already of unit scale.
        condition_map: the same for conditions.
        gradient: what a backward pass keeps of each layer; see `Repeat`.
        rngs: source of the initial weights.
    """

    def make_block(rngs: nnx.Rngs) -> AbstractBijector:
        mixing = [LU(dim)] if linear else []
        random = shuffle and dim > 2
        order = Permutation.random(dim, rngs=rngs) if random else Reverse(dim)
        return Chain([make_layer(rngs), *mixing, order])

    base = StandardNormal(dim) if base is None else base
    make = make_block if reorder else make_layer
    layers = Repeat(make, num_layers, gradient=gradient, rngs=rngs)
    parts = [*_unbound(base, dim), layers]
    if data_map is not None:
        parts.append(data_map)
    bijector = parts[0] if len(parts) == 1 else Chain(parts)
    return Flow(base, bijector, condition_map=condition_map)


def _unbound(base: AbstractBase, dim: int) -> list[AbstractBijector]:
    """Maps from a base's bounded support to the real numbers that layers work on."""
    if base.support is None:
        return []
    low, high = base.support
    return [Invert(Standardize(dim, loc=low, scale=high - low)), Logit(dim)]


def coupling_layer(
    transformer: AbstractTransformer,
    network: type[MLP] | type[ResidualMLP],
    *,
    dim: int,
    condition_dim: int | None,
    hidden: tuple[int, ...],
    activation: str | Activation,
    compute_dtype: str,
) -> Callable[[nnx.Rngs], AbstractBijector]:
    """A maker of coupling layers that keep the first half of the event."""
    kept = dim // 2

    def make_layer(rngs: nnx.Rngs) -> AbstractBijector:
        conditioner = network(
            kept,
            out_shape=(transformer.num_params, dim - kept),
            hidden=hidden,
            condition_dim=condition_dim,
            activation=activation,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        return Coupling(transformer, conditioner)

    return make_layer


def autoregressive_layer(
    transformer: AbstractTransformer,
    network: type[MADE] | type[ResidualMADE],
    *,
    dim: int,
    condition_dim: int | None,
    hidden: tuple[int, ...],
    activation: str | Activation,
    compute_dtype: str,
) -> Callable[[nnx.Rngs], MaskedAutoregressive]:
    """A maker of autoregressive layers."""

    def make_layer(rngs: nnx.Rngs) -> MaskedAutoregressive:
        conditioner = network(
            dim,
            num_params=transformer.num_params,
            hidden=hidden,
            condition_dim=condition_dim,
            activation=activation,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        return MaskedAutoregressive(transformer, conditioner)

    return make_layer
