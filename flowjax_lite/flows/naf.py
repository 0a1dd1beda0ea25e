"""Neural autoregressive flows: sigmoidal networks of one entry in autoregressive layers."""

from flax import nnx

from flowjax_lite.bijectors import AbstractBijector
from flowjax_lite.conditioners import MADE
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.core.checks import check_choice
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions import AbstractBase, Flow
from flowjax_lite.flows.layers import autoregressive_layer, stack
from flowjax_lite.transformers import DeepDenseSigmoid, DeepSigmoid

_TRANSFORMERS = {"dsf": DeepSigmoid, "ddsf": DeepDenseSigmoid}


@remembers_recipe
def naf(
    *,
    dim: int,
    condition_dim: int | None = None,
    num_layers: int = 5,
    hidden: tuple[int, ...] = (128, 128),
    transformer: str = "dsf",
    num_units: int = 8,
    num_sigmoid_layers: int = 2,
    activation: str | Activation = "relu",
    base: AbstractBase | None = None,
    data_map: AbstractBijector | None = None,
    condition_map: AbstractBijector | None = None,
    gradient: str = "store",
    compute_dtype: str = "float32",
    rngs: nnx.Rngs,
) -> Flow:
    """Sigmoidal networks in autoregressive layers; sampling is sequential and numerical.

    NAF: Huang, Krueger, Lacoste and Courville, 2018, arXiv:1804.00779.

    Args:
        dim: dimension of an event; 1 is allowed.
        condition_dim: dimension of a condition; None for an unconditional flow.
        num_layers: number of autoregressive layers.
        hidden: widths of each conditioner's hidden layers.
        transformer: "dsf" for mixtures of sigmoids, one on the other (`DeepSigmoid`); "ddsf"
            for fully connected layers of them (`DeepDenseSigmoid`), with more parameters.
        num_units: number of sigmoids in each layer of a transformer.
        num_sigmoid_layers: number of layers in a transformer; with 1 the two are the same.
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
    kind = _TRANSFORMERS[check_choice(transformer, tuple(_TRANSFORMERS), "transformer")]
    layer = autoregressive_layer(
        kind(num_units, num_sigmoid_layers),
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
