"""Unconstrained neural autoregressive flows: integrals of positive networks."""

from flax import nnx

from flowjax_lite.bijectors import AbstractBijector
from flowjax_lite.conditioners import MADE
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions import AbstractBase, Flow
from flowjax_lite.flows.layers import autoregressive_layer, stack
from flowjax_lite.transformers import MonotonicNetwork


@remembers_recipe
def unaf(
    *,
    dim: int,
    condition_dim: int | None = None,
    num_layers: int = 5,
    hidden: tuple[int, ...] = (128, 128),
    integrand_hidden: tuple[int, ...] = (8, 8),
    bound: float = 10.0,
    num_nodes: int = 64,
    activation: str | Activation = "relu",
    base: AbstractBase | None = None,
    data_map: AbstractBijector | None = None,
    condition_map: AbstractBijector | None = None,
    gradient: str = "store",
    compute_dtype: str = "float32",
    rngs: nnx.Rngs,
) -> Flow:
    """Monotonic networks in autoregressive layers; sampling is sequential and numerical.

    UMNN-MAF: Wehenkel and Louppe, 2019, arXiv:1908.05164.

    Args:
        dim: dimension of an event; 1 is allowed.
        condition_dim: dimension of a condition; None for an unconditional flow.
        num_layers: number of autoregressive layers.
        hidden: widths of each conditioner's hidden layers.
        integrand_hidden: widths of the hidden layers of each positive network, all of whose
            weights a conditioner emits.
        bound: the networks act on [-bound, bound], in units of the latent.
        num_nodes: number of points at which each integral evaluates its network; the density
            is exact for every number.
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
    layer = autoregressive_layer(
        MonotonicNetwork(tuple(integrand_hidden), bound, num_nodes),
        MADE,
        dim=dim,
        condition_dim=condition_dim,
        hidden=hidden,
        activation=activation,
        compute_dtype=compute_dtype,
    )
    return stack(
        layer,
        dim=dim,
        num_layers=num_layers,
        base=base,
        data_map=data_map,
        condition_map=condition_map,
        gradient=gradient,
        rngs=rngs,
    )
