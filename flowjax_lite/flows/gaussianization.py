"""Gaussianization flows: each entry made normal by itself, and rotations between."""

from flax import nnx

from flowjax_lite.bijectors import AbstractBijector, Chain, Independent, Rotation
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions import AbstractBase, Flow
from flowjax_lite.flows.layers import stack
from flowjax_lite.transformers import NormalMixture


@remembers_recipe
def gaussianization(
    *,
    dim: int,
    condition_dim: int | None = None,
    num_layers: int = 8,
    hidden: tuple[int, ...] = (128, 128),
    num_components: int = 8,
    activation: str | Activation = "relu",
    base: AbstractBase | None = None,
    data_map: AbstractBijector | None = None,
    condition_map: AbstractBijector | None = None,
    gradient: str = "store",
    compute_dtype: str = "float32",
    rngs: nnx.Rngs,
) -> Flow:
    """Layers that make each entry normal by itself, with learned rotations between them.

    No network looks at the event, so parameters are few: a density takes one cheap pass, and so
    do samples, whose every layer solves for its output.

    Gaussianization flows: Meng, Song, Song and Ermon, 2020, arXiv:2003.01941. Their rotations are
    products of Householder reflections, and their locations start at data; here both start such
    that the flow is the identity.

    Args:
        dim: dimension of an event; 1 is allowed.
        condition_dim: dimension of a condition; None for an unconditional flow.
        num_layers: number of mixture layers.
        hidden: widths of the hidden layers of the network that makes each layer's parameters from
            the condition; without effect where there is none, as are activation and
            compute_dtype.
        num_components: number of components of each mixture, at least 2.
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

    def make_layer(rngs: nnx.Rngs) -> AbstractBijector:
        mixtures = Independent(
            NormalMixture(num_components),
            dim,
            condition_dim=condition_dim,
            hidden=hidden,
            activation=activation,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        return Chain([mixtures, Rotation(dim)])

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
