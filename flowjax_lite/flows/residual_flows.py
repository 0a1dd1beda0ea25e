"""Residual flows: free-form networks that contract, each added to the identity."""

from typing import Unpack

from flax import nnx

from flowjax_lite.bijectors import InvertibleResidual
from flowjax_lite.bijectors.residual import LogDet
from flowjax_lite.conditioners import LipschitzMLP
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.distributions import Flow
from flowjax_lite.flows.options import FlowOptions, flow_factory
from flowjax_lite.flows.stacking import stack


@flow_factory
def residual(
    *,
    num_layers: int = 8,
    hidden: tuple[int, ...] = (128, 128),
    coefficient: float = 0.9,
    log_det: LogDet = "exact",
    activation: str | Activation = "lipswish",
    **options: Unpack[FlowOptions],
) -> Flow:
    """Residual layers with learned linear maps between them: each entry may depend on all.

    Sampling finds a fixed point for each layer.

    i-ResNet: Behrmann, Grathwohl, Chen, Duvenaud and Jacobsen, 2019, arXiv:1811.00995.
    Residual flows: Chen, Behrmann, Duvenaud and Jacobsen, 2019, arXiv:1906.02735.

    Args:
        coefficient: bound of each network's Lipschitz constant, between 0 and 1.
        log_det: "exact", from the Jacobian, or "series": an unbiased estimate where a key is
            given, as in training, for some hundred dimensions and more; see
            `InvertibleResidual`.
        activation: "relu", "leaky_relu", "elu", "softplus", "tanh" or "lipswish".
    """

    def make_layer(rngs: nnx.Rngs) -> InvertibleResidual:
        network = LipschitzMLP(
            options["dim"],
            hidden=hidden,
            condition_dim=options["condition_dim"],
            coefficient=coefficient,
            activation=activation,
            compute_dtype=options["compute_dtype"],
            rngs=rngs,
        )
        return InvertibleResidual(network, log_det=log_det)

    return stack(make_layer, num_layers, options, order="reverse", linear=True)
