"""Stable scalar maths, quadrature, root finding with implicit gradients, and static checks."""

from flowjax_lite.numerics.quadrature import clenshaw_curtis
from flowjax_lite.numerics.root import monotone_root
from flowjax_lite.numerics.scalar import (
    log_scale,
    sigmoid_log_derivative,
    soft_clip,
    softplus_inverse,
)

__all__ = [
    "clenshaw_curtis",
    "log_scale",
    "monotone_root",
    "sigmoid_log_derivative",
    "soft_clip",
    "softplus_inverse",
]
