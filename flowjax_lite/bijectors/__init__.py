"""Invertible maps on one event, with the log-determinants of their Jacobians."""

from flowjax_lite.bijectors.affine import Affine, Scale, Shift, Standardize
from flowjax_lite.bijectors.autoregressive import MaskedAutoregressive
from flowjax_lite.bijectors.base import AbstractBijector, AbstractNormalization, Part
from flowjax_lite.bijectors.block_autoregressive import BlockAutoregressive
from flowjax_lite.bijectors.cdf import BetaCDF, GaussianMixtureCDF, NormalCDF
from flowjax_lite.bijectors.channelwise import Channelwise
from flowjax_lite.bijectors.compose import Chain, Invert, unrolled
from flowjax_lite.bijectors.coupling import Coupling
from flowjax_lite.bijectors.domains import Domains
from flowjax_lite.bijectors.elementwise import Exp, Identity, Logit, Sigmoid, Softplus, Tanh
from flowjax_lite.bijectors.first_channels import FirstChannels
from flowjax_lite.bijectors.householder import Householder
from flowjax_lite.bijectors.independent import Independent
from flowjax_lite.bijectors.linear import LU, PLU, Linear, Triangular, Whiten
from flowjax_lite.bijectors.normalization import ActNorm, BatchNorm
from flowjax_lite.bijectors.orthogonal import QR, RandomRotation, Rotation
from flowjax_lite.bijectors.permutation import Permutation, Reverse
from flowjax_lite.bijectors.planar import PLANAR_NONLINEARITIES, Planar
from flowjax_lite.bijectors.radial import Radial
from flowjax_lite.bijectors.repeat import GRADIENTS, Repeat
from flowjax_lite.bijectors.residual import LOG_DETS, InvertibleResidual
from flowjax_lite.bijectors.squeezed import CHECKERBOARD, Patched, Squeezed
from flowjax_lite.bijectors.sylvester import SYLVESTER_FORMS, Sylvester
from flowjax_lite.core.buffer import Buffer

__all__ = [
    "CHECKERBOARD",
    "GRADIENTS",
    "LOG_DETS",
    "LU",
    "PLANAR_NONLINEARITIES",
    "PLU",
    "QR",
    "SYLVESTER_FORMS",
    "AbstractBijector",
    "AbstractNormalization",
    "ActNorm",
    "Affine",
    "BatchNorm",
    "BetaCDF",
    "BlockAutoregressive",
    "Buffer",
    "Chain",
    "Channelwise",
    "Coupling",
    "Domains",
    "Exp",
    "FirstChannels",
    "GaussianMixtureCDF",
    "Householder",
    "Identity",
    "Independent",
    "Invert",
    "InvertibleResidual",
    "Linear",
    "Logit",
    "MaskedAutoregressive",
    "NormalCDF",
    "Part",
    "Patched",
    "Permutation",
    "Planar",
    "Radial",
    "RandomRotation",
    "Repeat",
    "Reverse",
    "Rotation",
    "Scale",
    "Shift",
    "Sigmoid",
    "Softplus",
    "Squeezed",
    "Standardize",
    "Sylvester",
    "Tanh",
    "Triangular",
    "Whiten",
    "unrolled",
]
