"""Scalar monotone maps: frozen dataclasses of pure functions, without parameters of their own."""

from flowjax_lite.transformers.affine import Additive, Affine
from flowjax_lite.transformers.base import AbstractNumericalForward, AbstractTransformer
from flowjax_lite.transformers.bernstein import Bernstein
from flowjax_lite.transformers.circular_spline import CircularSpline
from flowjax_lite.transformers.mixture import LogisticMixture, NormalMixture
from flowjax_lite.transformers.monotonic_network import MonotonicNetwork
from flowjax_lite.transformers.polynomial_spline import (
    CubicSpline,
    LinearSpline,
    QuadraticSpline,
)
from flowjax_lite.transformers.sigmoidal import DeepDenseSigmoid, DeepSigmoid
from flowjax_lite.transformers.spline import RationalQuadraticSpline
from flowjax_lite.transformers.sum_of_squares import SumOfSquares
from flowjax_lite.transformers.tails import Power, SinhArcsinh
from flowjax_lite.transformers.unit_spline import UnitSpline

__all__ = [
    "AbstractNumericalForward",
    "AbstractTransformer",
    "Additive",
    "Affine",
    "Bernstein",
    "CircularSpline",
    "CubicSpline",
    "DeepDenseSigmoid",
    "DeepSigmoid",
    "LinearSpline",
    "LogisticMixture",
    "MonotonicNetwork",
    "NormalMixture",
    "Power",
    "QuadraticSpline",
    "RationalQuadraticSpline",
    "SinhArcsinh",
    "SumOfSquares",
    "UnitSpline",
]
