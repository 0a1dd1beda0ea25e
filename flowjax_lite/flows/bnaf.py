"""B-NAF: layers that are monotone autoregressive networks."""

from flax import nnx

from flowjax_lite.bijectors import AbstractBijector, BlockAutoregressive
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions import AbstractBase, Flow
from flowjax_lite.flows.layers import stack


@remembers_recipe
def bnaf(
    *,
    dim: int,
    condition_dim: int | None = None,
    num_layers: int = 5,
    hidden: tuple[int, ...] = (8, 8),
    activation: str | Activation = "tanh",
    base: AbstractBase | None = None,
    data_map: AbstractBijector | None = None,
    condition_map: AbstractBijector | None = None,
    gradient: str = "store",
    compute_dtype: str = "float32",
    rngs: nnx.Rngs,
) -> Flow:
    """Networks that are themselves monotone triangular maps.

    Sampling finds a root for each entry of each layer in turn.

    B-NAF: De Cao, Titov and Aziz, 2019, arXiv:1904.04676.

    Args:
        dim: dimension of an event; 1 is allowed.
        condition_dim: dimension of a condition; None for an unconditional flow.
        num_layers: number of networks.
        hidden: number of each dimension's units in the hidden layers: (8, 8) is two layers of
            8 · dim units.
        activation: "relu", "leaky_relu", "elu", "softplus" or "tanh"; see `BlockAutoregressive`.
        base: distribution of the latent; None is a standard normal.
        data_map: fixed bijector from unit scale to the data, such as
            `Standardize.from_data(x)`; None for data already of unit scale.
        condition_map: the same for conditions.
        gradient: what a backward pass keeps of each layer: "store" all that it needs,
            "recompute" its input, "invert" nothing; see `Repeat`.
        compute_dtype: of the networks' products: "float32", "tensorfloat32" or "bfloat16"; see
            `conditioners.check_compute_dtype`.
        rngs: source of the initial weights.

    Returns:
        The flow, the identity map at initialisation.
    """

    def make_layer(rngs: nnx.Rngs) -> BlockAutoregressive:
        return BlockAutoregressive(
            dim,
            hidden=hidden,
            condition_dim=condition_dim,
            activation=activation,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )

    return stack(
        make_layer,
        dim=dim,
        num_layers=num_layers,
        base=base,
        data_map=data_map,
        condition_map=condition_map,
        gradient=gradient,
        rngs=rngs,
    )
