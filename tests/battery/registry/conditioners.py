"""Networks, and the makers of those that layers are built around."""

import math
from functools import partial

from battery.registry.item import CONDITION_DIM, DIM, HIDDEN, SMOOTH, Domain, Item
from battery.registry.transformers import CORE
from flax import nnx
from jax import Array

from flowjax_lite.conditioners import (
    MADE,
    MLP,
    AbstractConditioner,
    CausalTransformer,
    ConvDecoder,
    ConvEncoder,
    ConvNet,
    GivenImage,
    GlowNet,
    Guided,
    LipschitzMLP,
    Periodic,
    ResidualMADE,
    ResidualMLP,
    VisionTransformer,
    WeightNormConvNet,
    ZeroConvNet,
)
from flowjax_lite.transformers import AbstractTransformer


def mlp(
    rngs: nnx.Rngs,
    transformer: AbstractTransformer = CORE["Affine"],
    network: type[MLP] | type[ResidualMLP] = MLP,
    condition_dim: int | None = None,
    compute_dtype: str = "float32",
) -> MLP | ResidualMLP:
    """The network of a coupling layer that keeps the first entry."""
    return network(
        1,
        out_shape=(transformer.num_params, DIM - 1),
        hidden=HIDDEN,
        condition_dim=condition_dim,
        activation=SMOOTH,
        compute_dtype=compute_dtype,
        rngs=rngs,
    )


def made(
    rngs: nnx.Rngs,
    transformer: AbstractTransformer = CORE["Affine"],
    network: type[MADE] | type[ResidualMADE] = MADE,
    condition_dim: int | None = None,
    compute_dtype: str = "float32",
) -> MADE | ResidualMADE:
    """The network of an autoregressive layer."""
    return network(
        DIM,
        num_params=transformer.num_params,
        hidden=HIDDEN,
        condition_dim=condition_dim,
        activation=SMOOTH,
        compute_dtype=compute_dtype,
        rngs=rngs,
    )


def lipschitz(rngs: nnx.Rngs, condition_dim: int | None = None) -> LipschitzMLP:
    """The network of an invertible residual layer."""
    return LipschitzMLP(DIM, hidden=HIDDEN, condition_dim=condition_dim, rngs=rngs)


def periodic(rngs: nnx.Rngs, condition_dim: int | None = None) -> Periodic:
    """A network of two angles and a real number between them."""
    network = ResidualMLP(
        5, out_shape=(2,), hidden=HIDDEN, condition_dim=condition_dim, activation=SMOOTH, rngs=rngs
    )
    return Periodic(network, (0, 2))


class FlatNetwork(AbstractConditioner):
    """A network of images as one of vectors, which the battery measures."""

    def __init__(self, network: AbstractConditioner) -> None:
        self.network = network
        self.in_dim, self.condition_shape = math.prod(network.in_shape), network.condition_shape

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        if x.shape == (self.in_dim,):
            return self.network(x.reshape(self.network.in_shape), condition)
        raise ValueError(f"x has shape {x.shape}; expected {(self.in_dim,)}")


def attention(
    rngs: nnx.Rngs,
    network: type[CausalTransformer] | type[VisionTransformer] = CausalTransformer,
    **settings: int,
) -> CausalTransformer | VisionTransformer:
    """A small transformer over five tokens, more than a chunk of steps."""
    sizes = {"num_params": 2, "width": 4, "num_layers": 2, "num_heads": 2}
    return network((5, 2), condition_dim=CONDITION_DIM, **sizes, **settings, rngs=rngs)


def convolutional(
    rngs: nnx.Rngs, network: type[AbstractConditioner], condition_dim: int | None = None
) -> AbstractConditioner:
    """A small network of images."""
    options = {"condition_dim": condition_dim, "activation": SMOOTH, "rngs": rngs}
    if network is ConvNet:
        return FlatNetwork(ConvNet((2, 3, 1), out_channels=2, channels=2, num_blocks=1, **options))
    if network is ConvEncoder:
        return FlatNetwork(ConvEncoder((3, 2, 1), out_shape=(2,), channels=(2, 2), **options))
    if network is GivenImage:
        within = ConvNet((1, 2, 6), out_channels=1, channels=2, num_blocks=1, rngs=rngs)
        return FlatNetwork(GivenImage(within, (2, 4, 1)))
    if network is ZeroConvNet:
        del options["activation"]
        return FlatNetwork(ZeroConvNet((2, 3, 1), out_channels=2, **options))
    if network is GlowNet:
        return FlatNetwork(GlowNet((2, 3, 1), out_channels=2, num_params=2, channels=2, **options))
    if network is WeightNormConvNet:
        options |= {"channels": 2, "num_blocks": 1}
        return FlatNetwork(WeightNormConvNet((2, 3, 1), out_channels=2, **options))
    return ConvDecoder(DIM, out_shape=(2, 4, 1), channels=(2,), **options)


# A layer norm squares its argument.
SQUARED = Domain(-2.5, 2.5, (-1e15, 1e15))
CONDITIONERS = {
    "MLP": Item(partial(mlp, network=MLP)),
    "MLP|condition": Item(partial(mlp, network=MLP, condition_dim=CONDITION_DIM)),
    "ResidualMLP": Item(partial(mlp, network=ResidualMLP)),
    "ResidualMLP|condition": Item(partial(mlp, network=ResidualMLP, condition_dim=CONDITION_DIM)),
    "LipschitzMLP": Item(lipschitz),
    "LipschitzMLP|condition": Item(partial(lipschitz, condition_dim=CONDITION_DIM)),
    "MADE": Item(partial(made, network=MADE)),
    "MADE|condition": Item(partial(made, network=MADE, condition_dim=CONDITION_DIM)),
    "ResidualMADE": Item(partial(made, network=ResidualMADE)),
    "ResidualMADE|condition": Item(
        partial(made, network=ResidualMADE, condition_dim=CONDITION_DIM)
    ),
    "ConvNet|condition": Item(
        partial(convolutional, network=ConvNet, condition_dim=CONDITION_DIM), data=SQUARED
    ),
    **{
        f"{network.__name__}|condition": Item(
            partial(convolutional, network=network, condition_dim=CONDITION_DIM),
            dtypes=("float64",),
            second_order=network is WeightNormConvNet,
        )
        for network in (GivenImage, GlowNet, WeightNormConvNet, ZeroConvNet)
    },
    # Made of the blocks of ConvNet.
    "ConvEncoder": Item(
        partial(convolutional, network=ConvEncoder),
        data=SQUARED,
        dtypes=("float64",),
        second_order=False,
    ),
    "ConvDecoder|condition": Item(
        partial(convolutional, network=ConvDecoder, condition_dim=CONDITION_DIM),
        data=SQUARED,
        dtypes=("float64",),
        second_order=False,
    ),
    "CausalTransformer|condition": Item(
        lambda rngs: FlatNetwork(attention(rngs)), data=SQUARED, dtypes=("float64",)
    ),
    "VisionTransformer|condition": Item(
        lambda rngs: FlatNetwork(attention(rngs, VisionTransformer, out_features=1)),
        data=SQUARED,
        dtypes=("float64",),
    ),
    "Guided|condition": Item(
        lambda rngs: FlatNetwork(Guided(made(rngs, condition_dim=CONDITION_DIM), 1.5)),
        dtypes=("float64",),
    ),
    "Periodic": Item(periodic),
    "Periodic|condition": Item(partial(periodic, condition_dim=CONDITION_DIM)),
}
