"""Base distributions, and `Flow`: a base pushed through a bijector."""

from flowjax_lite.distributions.bases.base import AbstractBase
from flowjax_lite.distributions.bases.bounded import Beta, Uniform
from flowjax_lite.distributions.bases.mixture import GaussianMixture
from flowjax_lite.distributions.bases.normal import (
    ConditionalNormal,
    DiagonalNormal,
    StandardNormal,
)
from flowjax_lite.distributions.bases.product import Product
from flowjax_lite.distributions.bases.student_t import StudentT
from flowjax_lite.distributions.density import Density
from flowjax_lite.distributions.dequantized import Dequantized
from flowjax_lite.distributions.embedded import Embedded
from flowjax_lite.distributions.flow import Flow
from flowjax_lite.distributions.mixture import FlowMixture
from flowjax_lite.distributions.statistics import initialize, observe

__all__ = [
    "AbstractBase",
    "Beta",
    "ConditionalNormal",
    "Density",
    "Dequantized",
    "DiagonalNormal",
    "Embedded",
    "Flow",
    "FlowMixture",
    "GaussianMixture",
    "Product",
    "StandardNormal",
    "StudentT",
    "Uniform",
    "initialize",
    "observe",
]
