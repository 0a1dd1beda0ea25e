"""NICE: additive coupling layers and one diagonal scaling."""

from flax import nnx

from flowjax_lite.bijectors import AbstractBijector, Chain, Scale
from flowjax_lite.conditioners import MLP
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions import AbstractBase, Flow
from flowjax_lite.flows.layers import coupling_layer, stack
from flowjax_lite.transformers import Additive


@remembers_recipe
def nice(
    *,
    dim: int,
    condition_dim: int | None = None,
    num_layers: int = 8,
    hidden: tuple[int, ...] = (128, 128),
    activation: str | Activation = "relu",
    base: AbstractBase | None = None,
    data_map: AbstractBijector | None = None,
    condition_map: AbstractBijector | None = None,
    gradient: str = "store",
    compute_dtype: str = "float32",
    rngs: nnx.Rngs,
) -> Flow:
    """Volume-preserving couplings, then one learned scale per entry.

    NICE: Dinh, Krueger and Bengio, 2014, arXiv:1410.8516.

    Args:
        dim: dimension of an event; 1 is allowed.
        condition_dim: dimension of a condition; None for an unconditional flow.
        num_layers: number of coupling layers.
        hidden: widths of each network's hidden layers.
        activation: name or function.
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
    layer = coupling_layer(
        Additive(),
        MLP,
        dim=dim,
        condition_dim=condition_dim,
        hidden=hidden,
        activation=activation,
        compute_dtype=compute_dtype,
    )
    scale = Scale(dim)
    return stack(
        layer,
        dim=dim,
        num_layers=num_layers,
        shuffle=True,
        base=base,
        data_map=scale if data_map is None else Chain([scale, data_map]),
        condition_map=condition_map,
        gradient=gradient,
        rngs=rngs,
    )
