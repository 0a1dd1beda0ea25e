"""Scalar monotone maps: frozen dataclasses of pure functions, without parameters of their own."""

from flowjax_lite.transformers.additive import Additive
from flowjax_lite.transformers.affine import Affine
from flowjax_lite.transformers.base import AbstractTransformer
from flowjax_lite.transformers.spline import RationalQuadraticSpline

__all__ = ["AbstractTransformer", "Additive", "Affine", "RationalQuadraticSpline"]
