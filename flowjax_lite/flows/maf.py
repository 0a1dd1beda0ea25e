"""MAF and IAF: affine autoregressive layers, in the two directions."""

from flax import nnx

from flowjax_lite.bijectors import AbstractBijector, Invert
from flowjax_lite.conditioners import MADE
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions import AbstractBase, Flow
from flowjax_lite.flows.layers import autoregressive_layer, stack
from flowjax_lite.transformers import Affine


@remembers_recipe
def maf(
    *,
    dim: int,
    condition_dim: int | None = None,
    num_layers: int = 5,
    hidden: tuple[int, ...] = (128, 128),
    activation: str | Activation = "relu",
    base: AbstractBase | None = None,
    data_map: AbstractBijector | None = None,
    condition_map: AbstractBijector | None = None,
    gradient: str = "store",
    compute_dtype: str = "float32",
    rngs: nnx.Rngs,
) -> Flow:
    """Affine autoregressive layers whose density takes one parallel pass.

    MAF: Papamakarios, Pavlakou and Murray, 2017, arXiv:1705.07057.

    Args:
        dim: dimension of an event; 1 is allowed.
        condition_dim: dimension of a condition; None for an unconditional flow.
        num_layers: number of autoregressive layers.
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
    layer = autoregressive_layer(
        Affine(),
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


@remembers_recipe
def iaf(
    *,
    dim: int,
    condition_dim: int | None = None,
    num_layers: int = 5,
    hidden: tuple[int, ...] = (128, 128),
    activation: str | Activation = "relu",
    base: AbstractBase | None = None,
    data_map: AbstractBijector | None = None,
    condition_map: AbstractBijector | None = None,
    gradient: str = "store",
    compute_dtype: str = "float32",
    rngs: nnx.Rngs,
) -> Flow:
    """Affine autoregressive layers whose sampling takes one parallel pass.

    The density of a given point is sequential in the entries. Variational inference, which
    samples and scores its own samples, never needs it.

    IAF: Kingma et al., 2016, arXiv:1606.04934.

    Args:
        dim: dimension of an event; 1 is allowed.
        condition_dim: dimension of a condition; None for an unconditional flow.
        num_layers: number of autoregressive layers.
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
    layer = autoregressive_layer(
        Affine(),
        MADE,
        dim=dim,
        condition_dim=condition_dim,
        hidden=hidden,
        activation=activation,
        compute_dtype=compute_dtype,
    )
    return stack(
        lambda rngs: Invert(layer(rngs)),
        dim=dim,
        num_layers=num_layers,
        base=base,
        data_map=data_map,
        condition_map=condition_map,
        gradient=gradient,
        rngs=rngs,
    )
