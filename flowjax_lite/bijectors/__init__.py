"""Invertible maps on one event, with the log-determinants of their Jacobians."""

from flowjax_lite.bijectors.affine import Affine, Scale, Shift, Standardize
from flowjax_lite.bijectors.autoregressive import MaskedAutoregressive
from flowjax_lite.bijectors.base import AbstractBijector, Buffer
from flowjax_lite.bijectors.block_autoregressive import BlockAutoregressive
from flowjax_lite.bijectors.compose import Chain, Invert
from flowjax_lite.bijectors.coupling import Coupling
from flowjax_lite.bijectors.elementwise import Exp, Logit, Sigmoid, Softplus, Tanh
from flowjax_lite.bijectors.independent import Independent
from flowjax_lite.bijectors.linear import LU
from flowjax_lite.bijectors.permutation import Permutation, Reverse
from flowjax_lite.bijectors.repeat import GRADIENTS, Repeat
from flowjax_lite.bijectors.residual import LOG_DETS, InvertibleResidual

__all__ = [
    "GRADIENTS",
    "LOG_DETS",
    "LU",
    "AbstractBijector",
    "Affine",
    "BlockAutoregressive",
    "Buffer",
    "Chain",
    "Coupling",
    "Exp",
    "Independent",
    "Invert",
    "InvertibleResidual",
    "Logit",
    "MaskedAutoregressive",
    "Permutation",
    "Repeat",
    "Reverse",
    "Scale",
    "Shift",
    "Sigmoid",
    "Softplus",
    "Standardize",
    "Tanh",
]
