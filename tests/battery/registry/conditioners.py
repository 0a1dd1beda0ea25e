"""Networks, and the makers of those that layers are built around."""

from functools import partial

from battery.registry.item import CONDITION_DIM, DIM, HIDDEN, SMOOTH, Item
from battery.registry.transformers import CORE
from flax import nnx

from flowjax_lite.conditioners import MADE, MLP, LipschitzMLP, Periodic, ResidualMADE, ResidualMLP
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
    "Periodic": Item(periodic),
    "Periodic|condition": Item(partial(periodic, condition_dim=CONDITION_DIM)),
}
