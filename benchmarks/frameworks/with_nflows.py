"""nflows: transforms from the data to the latent."""

import torch
from nflows.distributions.normal import StandardNormal
from nflows.flows import Flow
from nflows.nn.nets import MLP
from nflows.transforms import (
    AffineCouplingTransform,
    CompositeTransform,
    MaskedAffineAutoregressiveTransform,
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
    PiecewiseRationalQuadraticCouplingTransform,
    ReversePermutation,
    Transform,
)
from torch import Tensor, nn

from frameworks import base
from frameworks.base import Case
from frameworks.in_torch import TorchPeer


class Network(MLP):
    """Its `MLP` in the form that couplings call; its own such network is residual."""

    def __init__(self, in_dim: int, out_dim: int, hidden: tuple[int, ...]) -> None:
        super().__init__((in_dim,), (out_dim,), hidden)
        self.hidden_features = hidden[-1]  # by which the splines scale their logits

    def forward(self, inputs: Tensor, context: None = None) -> Tensor:
        return super().forward(inputs)


class Nflows(TorchPeer):
    """Layers and permutations in one composite."""

    name = "nflows"
    packages = ("nflows",)

    @staticmethod
    def make_flow(case: Case, dim: int) -> nn.Module:
        transforms = []
        for _ in range(case.num_layers):
            transforms += [_layer(case, dim), ReversePermutation(dim)]
        return Flow(CompositeTransform(transforms), StandardNormal([dim]))

    @staticmethod
    def log_prob(flow: nn.Module, x: Tensor) -> Tensor:
        return flow.log_prob(x)

    @staticmethod
    def sample(flow: nn.Module, count: int) -> Tensor:
        return flow.sample(count)


def _layer(case: Case, dim: int) -> Transform:
    splines = {"num_bins": base.NUM_BINS, "tails": "linear", "tail_bound": base.BOUND}
    if case.autoregressive:
        # The first hidden layer is not counted as a block.
        network = {"num_blocks": len(case.hidden) - 1, "use_residual_blocks": False}
        sizes = {"features": dim, "hidden_features": case.hidden[0]}
        if case.spline:
            return MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
                **sizes, **network, **splines
            )
        return MaskedAffineAutoregressiveTransform(**sizes, **network)
    moved = torch.arange(dim) >= dim // 2

    def make_network(in_dim: int, out_dim: int) -> Network:
        return Network(in_dim, out_dim, case.hidden)

    if case.spline:
        return PiecewiseRationalQuadraticCouplingTransform(moved, make_network, **splines)
    return AffineCouplingTransform(moved, make_network)
