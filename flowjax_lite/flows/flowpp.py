"""Flow++ without its images: mixtures of logistic distribution functions in couplings."""

from flax import nnx

from flowjax_lite.bijectors import AbstractBijector
from flowjax_lite.conditioners import ResidualMLP
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions import AbstractBase, Flow
from flowjax_lite.flows.layers import coupling_layer, stack
from flowjax_lite.transformers import LogisticMixture


@remembers_recipe
def flowpp(
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
    """Couplings by mixtures of logistic distribution functions, with linear maps between them.

    The density takes one pass, and so do samples, whose every layer solves for its output.

    Flow++: Ho, Chen, Srinivas, Duan and Abbeel, 2019, arXiv:1902.00275, section 3.2; its
    dequantisation, convolutions and self-attention are for images, and are left out.

    Args:
        dim: dimension of an event; 1 is allowed.
        condition_dim: dimension of a condition; None for an unconditional flow.
        num_layers: number of coupling layers.
        hidden: width of each residual block, all equal; (128, 128) is two blocks.
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
    layer = coupling_layer(
        LogisticMixture(num_components),
        ResidualMLP,
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
        shuffle=True,
        linear=True,
        base=base,
        data_map=data_map,
        condition_map=condition_map,
        gradient=gradient,
        rngs=rngs,
    )
