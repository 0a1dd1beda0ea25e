"""normflows: flows from the latent to the data."""

import normflows as nf
import torch
from normflows.flows.base import Flow, Reverse
from normflows.flows.neural_spline.autoregressive import (
    MaskedPiecewiseRationalQuadraticAutoregressive,
)
from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling
from torch import Tensor, nn

from frameworks import base
from frameworks.base import Case
from frameworks.in_torch import TorchPeer


class Network(nf.nets.MLP):
    """Its `MLP` in the form that spline couplings call; its own such network is residual."""

    def __init__(self, in_dim: int, out_dim: int, hidden: tuple[int, ...]) -> None:
        super().__init__([in_dim, *hidden, out_dim])
        self.hidden_features = hidden[-1]  # by which the splines scale their logits

    def forward(self, x: Tensor, context: None = None) -> Tensor:
        return super().forward(x)


class Normflows(TorchPeer):
    """Layers, and exchanges of the two halves of the event."""

    name = "normflows"
    packages = ("normflows",)
    difference = (
        "normflows exchanges halves where the others reverse, and its MADE without residual "
        "blocks has no activation after the first layer."
    )

    @staticmethod
    def make_flow(case: Case, dim: int) -> nn.Module:
        layers = []
        for _ in range(case.num_layers):
            layers += [_layer(case, dim), nf.flows.Permute(dim, mode="swap")]
        return nf.NormalizingFlow(nf.distributions.DiagGaussian(dim, trainable=False), layers)

    @staticmethod
    def log_prob(flow: nn.Module, x: Tensor) -> Tensor:
        return flow.log_prob(x)

    @staticmethod
    def sample(flow: nn.Module, count: int) -> Tensor:
        return flow.sample(count)[0]


def _layer(case: Case, dim: int) -> Flow:
    kept, hidden = dim // 2, case.hidden
    splines = {"num_bins": base.NUM_BINS, "tails": "linear", "tail_bound": base.BOUND}
    if not case.autoregressive and not case.spline:
        network = Network(kept, 2 * (dim - kept), hidden)
        # Of an odd number of entries it keeps the smaller part only so.
        return nf.flows.AffineCouplingBlock(network, split_mode="channel_inv")
    if not case.autoregressive:
        moved = torch.arange(dim) < dim - kept
        layer = PiecewiseRationalQuadraticCoupling(
            moved, lambda in_dim, out_dim: Network(in_dim, out_dim, hidden), **splines
        )
    else:
        # The first hidden layer is not counted as a block.
        sizes = {"features": dim, "hidden_features": hidden[0], "num_blocks": len(hidden) - 1}
        if case.spline:
            layer = MaskedPiecewiseRationalQuadraticAutoregressive(
                **sizes, **splines, use_residual_blocks=False
            )
        else:
            layer = nf.flows.MaskedAffineAutoregressive(**sizes, use_residual_blocks=False)
    return Reverse(layer)  # these are written from the data to the latent
