"""zuko: lazy distributions that are built anew at each call."""

import torch
from torch import Tensor, nn
from zuko.distributions import DiagNormal
from zuko.flows import MAF
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.lazy import Flow, UnconditionalDistribution
from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform

from frameworks import base
from frameworks.base import Case
from frameworks.in_torch import TorchPeer


class Zuko(TorchPeer):
    """`MAF`, and couplings that keep one half and the other in turn."""

    name = "zuko"
    packages = ("zuko", "torch")

    @staticmethod
    def make_flow(case: Case, dim: int) -> nn.Module:
        bins, settings = base.NUM_BINS, {"hidden_features": case.hidden}
        if case.spline:  # on [-5, 5], unless told otherwise
            settings |= {
                "univariate": MonotonicRQSTransform,
                "shapes": [(bins,), (bins,), (bins - 1,)],
            }
        else:
            settings |= {"univariate": MonotonicAffineTransform, "shapes": [(), ()]}
        if case.autoregressive:
            return MAF(dim, transforms=case.num_layers, **settings)
        first_half = torch.arange(dim) < dim // 2
        masks = [first_half, first_half.flip(0)]
        layers = [
            GeneralCouplingTransform(dim, mask=masks[i % 2], **settings)
            for i in range(case.num_layers)
        ]
        zeros, ones = torch.zeros(dim), torch.ones(dim)
        return Flow(layers, UnconditionalDistribution(DiagNormal, zeros, ones, buffer=True))

    @staticmethod
    def log_prob(flow: nn.Module, x: Tensor) -> Tensor:
        return flow().log_prob(x)

    @staticmethod
    def sample(flow: nn.Module, count: int) -> Tensor:
        return flow().sample((count,))
