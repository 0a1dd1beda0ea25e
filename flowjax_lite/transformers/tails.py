"""Transformers for skewed and heavy-tailed entries, with exact inverses."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from flowjax_lite.numerics.scalar import log_scale, sigmoid_log_derivative, soft_clip
from flowjax_lite.transformers.base import AbstractTransformer

# Values of thousands stay far from overflow, layer after layer.
_MAX_LOG_TAIL = 1.0
_MAX_SKEWNESS = 3.0
_FAR = 1e9  # its square is finite in float32, and dwarfs one in float64


@dataclass(frozen=True)
class SinhArcsinh(AbstractTransformer):
    """Set skewness and weight of both tails: x = sinh(δ · arcsinh(y) - ε).

    The sinh-arcsinh transformation of Jones and Pewsey, 2009, Biometrika 96(4). Of a
    standard normal x it makes a y that is skewed to the right for ε > 0, with tails heavier than
    normal for δ < 1 and lighter for δ > 1.

    Parameters per scalar: ε, softly bounded by 3, and log δ, softly bounded by 1.
    """

    @property
    def num_params(self) -> int:
        return 2

    def forward_and_log_det(self, params: Array, x: Array) -> tuple[Array, Array]:
        skewness, log_tail = _bounded(params)
        return _sinh_arcsinh(-skewness * jnp.exp(-log_tail), -log_tail, x)

    def inverse_and_log_det(self, params: Array, y: Array) -> tuple[Array, Array]:
        return _sinh_arcsinh(*_bounded(params), y)


@dataclass(frozen=True)
class Power(AbstractTransformer):
    """Set the exponent of both tails: y = sign(x) · ((1 + |x|)^λ - 1) / λ.

    Each half is a Box-Cox map of 1 + |x|: linear near zero, a power far out. Data have heavier
    tails than the latent for λ > 1 and lighter ones for λ < 1. The log-density has a kink at 0.

    Parameters per scalar: log λ, softly bounded by 1.
    """

    @property
    def num_params(self) -> int:
        return 1

    def forward_and_log_det(self, params: Array, x: Array) -> tuple[Array, Array]:
        log_power = log_scale(params[0], _MAX_LOG_TAIL)
        sign, size = _sign_and_size(x)
        power, log_det = _power_less_one(size, log_power)
        return jnp.where(jnp.isfinite(x), sign * power * jnp.exp(-log_power), x), log_det

    def inverse_and_log_det(self, params: Array, y: Array) -> tuple[Array, Array]:
        log_power = log_scale(params[0], _MAX_LOG_TAIL)
        sign, size = _sign_and_size(y)
        root, log_det = _power_less_one(size * jnp.exp(log_power), -log_power)
        return jnp.where(jnp.isfinite(y), sign * root, y), log_det


def _bounded(params: Array) -> tuple[Array, Array]:
    return soft_clip(params[0], _MAX_SKEWNESS), log_scale(params[1], _MAX_LOG_TAIL)


def _sinh_arcsinh(skewness: Array, log_tail: Array, x: Array) -> tuple[Array, Array]:
    finite = jnp.isfinite(x)
    angle = _arcsinh(jnp.where(finite, x, 0.0))
    new_angle = jnp.exp(log_tail) * angle - skewness
    # log cosh(a) is half of -sigmoid_log_derivative(2 a), but for a constant.
    log_cosh_ratio = 0.5 * (
        sigmoid_log_derivative(2 * angle) - sigmoid_log_derivative(2 * new_angle)
    )
    limit = _largest_exponent(x)
    image = jnp.sinh(jnp.clip(new_angle, -limit, limit))
    return jnp.where(finite, image, x), log_tail + log_cosh_ratio


def _arcsinh(x: Array) -> Array:
    """The inverse of sinh; its derivative is right also where the square of x overflows."""
    sign, size = _sign_and_size(x)
    far = size > _FAR
    return jnp.where(
        far,
        sign * (jnp.log(jnp.where(far, size, 1.0)) + math.log(2)),
        jnp.arcsinh(jnp.where(far, 0.0, x)),
    )


def _sign_and_size(x: Array) -> tuple[Array, Array]:
    """The sign of x, 1 at zero so that zero has a slope, and |x|, 0 where that is infinite."""
    sign = jnp.where(x < 0, -jnp.ones_like(x), jnp.ones_like(x))
    return sign, jnp.where(jnp.isfinite(x), sign * x, 0.0)


def _power_less_one(size: Array, log_power: Array) -> tuple[Array, Array]:
    """(1 + size)^λ - 1, and the logarithm of (1 + size)^(λ - 1); size itself for λ = 1."""
    log_base = jnp.log1p(size)
    log_growth = jnp.expm1(log_power) * log_base
    growth = jnp.minimum(log_growth, _largest_exponent(size) - log_base)
    return size * jnp.exp(growth) + jnp.expm1(growth), log_growth


def _largest_exponent(x: Array) -> float:
    """Of results, about 80 in float32: beyond, infinity times a slope of zero would be NaN."""
    return 0.9 * math.log(jnp.finfo(x.dtype).max)
