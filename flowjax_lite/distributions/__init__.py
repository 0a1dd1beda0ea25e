"""Base distributions, and `Flow`: a base pushed through a bijector."""

from flowjax_lite.distributions.base import AbstractBase
from flowjax_lite.distributions.bounded import Beta, Uniform
from flowjax_lite.distributions.conditional import ConditionalNormal
from flowjax_lite.distributions.diagnose import Diagnosis, diagnose
from flowjax_lite.distributions.ensemble import FlowMixture
from flowjax_lite.distributions.flow import Flow
from flowjax_lite.distributions.from_distrax import FromDistrax
from flowjax_lite.distributions.mixture import GaussianMixture
from flowjax_lite.distributions.normal import DiagonalNormal, StandardNormal
from flowjax_lite.distributions.product import Product
from flowjax_lite.distributions.solver_report import SolverReport, solver_error, ways
from flowjax_lite.distributions.statistics import initialize, observe
from flowjax_lite.distributions.student_t import StudentT

__all__ = [
    "AbstractBase",
    "Beta",
    "ConditionalNormal",
    "Diagnosis",
    "DiagonalNormal",
    "Flow",
    "FlowMixture",
    "FromDistrax",
    "GaussianMixture",
    "Product",
    "SolverReport",
    "StandardNormal",
    "StudentT",
    "Uniform",
    "diagnose",
    "initialize",
    "observe",
    "solver_error",
    "ways",
]
