"""Planar flows: layers that bend space along one hyperplane each."""

import functools

from flax import nnx

from flowjax_lite.bijectors import AbstractBijector, Planar
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions import AbstractBase, Flow
from flowjax_lite.flows.layers import stack


@remembers_recipe
def planar(
    *,
    dim: int,
    condition_dim: int | None = None,
    num_layers: int = 16,
    hidden: tuple[int, ...] = (128, 128),
    nonlinearity: str = "tanh",
    activation: str | Activation = "relu",
    base: AbstractBase | None = None,
    data_map: AbstractBijector | None = None,
    condition_map: AbstractBijector | None = None,
    gradient: str = "store",
    compute_dtype: str = "float32",
    rngs: nnx.Rngs,
) -> Flow:
    """Planar layers: sampling, with the density of the samples, takes a closed form.

    The density of given points takes the root of a scalar function in each layer, or a closed
    form too with `nonlinearity="leaky_relu"`. Many layers, of few parameters each, that are
    learned or made from the condition, as in amortised variational inference.

    Rezende and Mohamed, 2015, arXiv:1505.05770.

    Args:
        dim: dimension of an event; 1 is allowed.
        condition_dim: dimension of a condition; None for an unconditional flow.
        num_layers: number of layers.
        hidden: widths of the hidden layers of each network, from a condition to a layer's
            parameters; without effect where there is no condition, as activation and compute_dtype.
        nonlinearity: "tanh", or "leaky_relu", which is harder to train; see `Planar`.
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
    layer = functools.partial(
        Planar,
        dim,
        nonlinearity=nonlinearity,
        condition_dim=condition_dim,
        hidden=hidden,
        activation=activation,
        compute_dtype=compute_dtype,
    )
    return stack(
        lambda rngs: layer(rngs=rngs),
        dim=dim,
        num_layers=num_layers,
        base=base,
        data_map=data_map,
        condition_map=condition_map,
        gradient=gradient,
        rngs=rngs,
    )
