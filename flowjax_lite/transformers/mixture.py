"""Mixture distribution functions followed by a quantile function: Flow++ and Gaussianization."""

import functools
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.special import logsumexp

from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.numerics.normal import log_ndtr_and_slope
from flowjax_lite.numerics.scalar import log_scale, soft_clip
from flowjax_lite.transformers.base import (
    AbstractNumericalForward,
    check_min_slope,
    with_linear_tails,
)

# Weights within a mixture differ by a factor of about exp(2 * 7), or 10^6, at most.
_MAX_LOGIT = 7.0
_MAX_LOG_SCALE = 5.0
# Locations move by at most 100, in units of the latent, and beyond ±100 the map is linear.
_BOUND = 100.0
_LOWEST_GAIN, _HIGHEST_GAIN = 0.5, 1.5
_NEWTON_STEPS = 4


class AbstractMixture(AbstractNumericalForward):
    """x = F₀⁻¹(F(y)) with a mixture F(y) = Σ π_k S((y - μ_k) / s_k), which is F₀ at zero.

    S is symmetric about zero. With equal components at the start, F₀ = S, normal ones would never
    part on standardised data: first derivatives see the mean and variance alone, which such data
    share with the base. So F₀ is a pair, half of the weight on either side of zero, and gains,
    different for each component, part those of one side.

    All is computed in the tail that y lies in, from the logarithm of S, so nothing cancels.
    """

    num_components: int
    min_slope: float
    # F₀ is flat-topped, symmetric, and close to a standard normal: S about ±_OFFSET.
    _OFFSET: ClassVar[float]
    _SCALE: ClassVar[float]

    def __post_init__(self) -> None:
        check_positive_int(self.num_components, "num_components", minimum=2)
        check_min_slope(self.min_slope)

    @property
    def num_params(self) -> int:
        return 3 * self.num_components

    def inverse_and_log_det(self, params: Array, y: Array) -> tuple[Array, Array]:
        def raised(y: Array) -> tuple[Array, Array]:
            x, slope = self._mixture_to_pair(params, y)
            least, rest = self.min_slope, 1.0 - self.min_slope
            return least * y + rest * x, least + rest * slope

        return with_linear_tails(raised, y, _BOUND)

    # A gradient computes it again: to store and read numbers of each component takes longer.
    @functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=0)
    def _mixture_to_pair(self, params: Array, y: Array) -> tuple[Array, Array]:
        """F₀⁻¹(F(y)) and its derivative."""
        side = np.arange(self.num_components) % 2
        gains = _column(np.linspace(_LOWEST_GAIN, _HIGHEST_GAIN, self.num_components), y)
        logits, locations, raw_scales = jnp.split(params, 3)
        # Either side starts with half of the weight, though one may have a component more.
        logits = soft_clip(logits, _MAX_LOGIT) - _column(np.log(np.bincount(side)[side]), y)
        log_weights = jax.nn.log_softmax(logits, axis=0)
        start = _column(self._OFFSET * (2 * side - 1), y)
        locations = start + soft_clip(gains * locations, _BOUND)
        scales = self._SCALE * jnp.exp(log_scale(gains * raw_scales, _MAX_LOG_SCALE))

        # Either side of the median gives the same answer, rounding apart, so a rough one will do.
        z = (y[None] - locations) / scales
        lower = jnp.sum(jnp.exp(log_weights) * jax.nn.sigmoid(z), axis=0) < 0.5
        sign = jnp.where(lower, 1.0, -1.0).astype(y.dtype)
        log_p, slope = self._log_mixture(log_weights, sign[None] * z, scales)
        x = self._pair_quantile(log_p)
        return sign * x, slope / self._log_pair(x)[1]

    @classmethod
    def _log_pair(cls, x: Array) -> tuple[Array, Array]:
        """log F₀(x) and its derivative."""
        log_weights, scales = (
            _column(np.full(2, value), x) for value in (-math.log(2), cls._SCALE)
        )
        locations = _column(np.array([-cls._OFFSET, cls._OFFSET]), x)
        return cls._log_mixture(log_weights, (x[None] - locations) / scales, scales)

    @classmethod
    def _log_mixture(cls, log_weights: Array, z: Array, scales: Array) -> tuple[Array, Array]:
        """log Σ π_k S(z_k) and its derivative, where each z_k grows by 1 / s_k."""
        log_cdf, slope = cls._log_cdf_and_slope(z)
        joint = log_weights + log_cdf
        slopes = jax.nn.softmax(joint, axis=0) * slope / scales
        return logsumexp(joint, axis=0), jnp.sum(slopes, axis=0)

    @staticmethod
    @abstractmethod
    def _log_cdf_and_slope(z: Array) -> tuple[Array, Array]:
        """log S(z) and its derivative."""

    @staticmethod
    @abstractmethod
    def _pair_quantile(log_p: Array) -> Array:
        """F₀⁻¹(exp(log_p)), where exp(log_p) is at most about 1/2."""


def _column(values: np.ndarray, like: Array) -> Array:
    """One number for each component, to be combined with arrays of such components."""
    return jnp.asarray(values, like.dtype).reshape(-1, *[1] * like.ndim)


@dataclass(frozen=True)
class NormalMixture(AbstractMixture):
    """A mixture of normal distribution functions, then a normal-like quantile function.

    Gaussianization flows: Meng, Song, Song and Ermon, 2020, arXiv:2003.01941, section 3.1, with
    F₀⁻¹ in place of the standard normal's quantile function; see `AbstractMixture`.

    Parameters per scalar: `num_components` logits of weights, as many locations and as many
    logarithms of scales.

    Attributes:
        num_components: number of components, at least 2.
        min_slope: the smallest slope ∂x/∂y, which keeps the forward direction well conditioned
            where the mixture has almost no mass.
    """

    num_components: int = 8
    min_slope: float = 1e-3
    _OFFSET: ClassVar[float] = 0.6
    _SCALE: ClassVar[float] = 0.8

    @staticmethod
    def _log_cdf_and_slope(z: Array) -> tuple[Array, Array]:
        return log_ndtr_and_slope(z)

    @staticmethod
    def _pair_quantile(log_p: Array) -> Array:
        return _normal_pair_quantile(log_p)


@jax.custom_jvp
def _normal_pair_quantile(log_p: Array) -> Array:
    """Newton's method, which cannot diverge on a concave function such as log F₀."""
    # The root of a parabola with log F₀'s value and slope at zero and its curvature far out.
    offset, scale = NormalMixture._OFFSET, NormalMixture._SCALE
    slope = 2 * math.exp(-0.5 * (offset / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
    below = jnp.maximum(-math.log(2) - log_p, 0.0)
    start = scale**2 * (slope - jnp.sqrt(slope**2 + 2 * below / scale**2))

    def newton(_: int, x: Array) -> Array:
        value, slope = NormalMixture._log_pair(x)
        return x - (value - log_p) / slope

    return lax.fori_loop(0, _NEWTON_STEPS, newton, start)


_normal_pair_quantile.defjvps(
    lambda tangent, result, log_p: tangent / NormalMixture._log_pair(result)[1]
)


@dataclass(frozen=True)
class LogisticMixture(AbstractMixture):
    """A mixture of logistic distribution functions, a logistic-like quantile, and an affine map.

    Flow++: Ho, Chen, Srinivas, Duan and Abbeel, 2019, arXiv:1902.00275, section 3.2, with F₀⁻¹
    in place of the logit; see `AbstractMixture`.

    Parameters per scalar: `num_components` logits of weights, as many locations and as many
    logarithms of scales; the shift and the logarithm of the scale of the affine map.

    Attributes:
        num_components: number of components, at least 2.
        min_slope: the smallest slope before the affine map, which keeps the forward direction
            well conditioned where the mixture has almost no mass.
    """

    num_components: int = 8
    min_slope: float = 1e-3
    _OFFSET: ClassVar[float] = 0.5
    _SCALE: ClassVar[float] = 0.5

    @property
    def num_params(self) -> int:
        return 3 * self.num_components + 2

    def inverse_and_log_det(self, params: Array, y: Array) -> tuple[Array, Array]:
        x, log_det = super().inverse_and_log_det(params[:-2], y)
        shift, s = params[-2], log_scale(params[-1], _MAX_LOG_SCALE)
        return x * jnp.exp(s) + shift, log_det + s

    @staticmethod
    def _log_cdf_and_slope(z: Array) -> tuple[Array, Array]:
        return jax.nn.log_sigmoid(z), jax.nn.sigmoid(-z)

    @classmethod
    def _pair_quantile(cls, log_p: Array) -> Array:
        # With odds p / (1 - p) = exp(l), exp(x / scale) is a root of a quadratic equation, and
        # x = scale (l / 2 + arsinh(c sinh(l / 2))). Here l <= 0, and exp(-l) may overflow.
        log_odds = log_p - jnp.log(-jnp.expm1(log_p))
        c, odds = math.cosh(cls._OFFSET / cls._SCALE), jnp.exp(log_odds)
        root = c * (1.0 - odds)
        return cls._SCALE * (log_odds - jnp.log(0.5 * (root + jnp.sqrt(root * root + 4.0 * odds))))
