"""Residual flows: free-form networks that contract, each added to the identity."""

from flax import nnx

from flowjax_lite.bijectors import AbstractBijector, InvertibleResidual
from flowjax_lite.conditioners import LipschitzMLP
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions import AbstractBase, Flow
from flowjax_lite.flows.layers import stack


@remembers_recipe
def residual(
    *,
    dim: int,
    condition_dim: int | None = None,
    num_layers: int = 8,
    hidden: tuple[int, ...] = (128, 128),
    coefficient: float = 0.9,
    log_det: str = "exact",
    activation: str | Activation = "lipswish",
    base: AbstractBase | None = None,
    data_map: AbstractBijector | None = None,
    condition_map: AbstractBijector | None = None,
    gradient: str = "store",
    compute_dtype: str = "float32",
    rngs: nnx.Rngs,
) -> Flow:
    """Residual layers with learned linear maps between them: each entry may depend on all.

    Sampling finds a fixed point for each layer.

    i-ResNet: Behrmann, Grathwohl, Chen, Duvenaud and Jacobsen, 2019, arXiv:1811.00995.
    Residual flows: Chen, Behrmann, Duvenaud and Jacobsen, 2019, arXiv:1906.02735.

    Args:
        dim: dimension of an event; 1 is allowed.
        condition_dim: dimension of a condition; None for an unconditional flow.
        num_layers: number of residual layers.
        hidden: widths of each network's hidden layers.
        coefficient: bound of each network's Lipschitz constant, between 0 and 1.
        log_det: "exact", from the Jacobian, or "series": an unbiased estimate where a key is
            given, as in training, for some hundred dimensions and more; see
            `InvertibleResidual`.
        activation: "relu", "leaky_relu", "elu", "softplus", "tanh" or "lipswish".
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

    def make_layer(rngs: nnx.Rngs) -> InvertibleResidual:
        network = LipschitzMLP(
            dim,
            hidden=hidden,
            condition_dim=condition_dim,
            coefficient=coefficient,
            activation=activation,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        return InvertibleResidual(network, log_det=log_det)

    return stack(
        make_layer,
        dim=dim,
        num_layers=num_layers,
        linear=True,
        base=base,
        data_map=data_map,
        condition_map=condition_map,
        gradient=gradient,
        rngs=rngs,
    )
