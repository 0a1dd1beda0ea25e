"""Radial layers: space is stretched or squeezed around one point."""

import math
from typing import Any, Self

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.bijectors.given import before_scale, before_soft_clip, given_array
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.conditioners.amortized import AmortizedParams
from flowjax_lite.core.checks import check_positive_int, default_dtype
from flowjax_lite.numerics.random import normal
from flowjax_lite.numerics.residual import before_slope_factor, slope_factor
from flowjax_lite.numerics.scalar import log_scale, soft_clip
from flowjax_lite.numerics.vector import norm

_MAX_PARAM = 50.0
_MAX_LOG_SCALE = 5.0


class Radial(AbstractBijector):
    """Stretch or squeeze space around a point: f(x) = x + β (x - x₀) / (α + |x - x₀|).

    Both directions are closed forms: the distance from x₀ solves a quadratic equation.

    Rezende and Mohamed, 2015, arXiv:1505.05770, equation 14 and appendix A.2, where β > -α makes
    the map invertible. Here β = α m with m between -0.99 and 100.
    """

    def __init__(
        self,
        dim: int,
        *,
        condition_dim: int | None = None,
        hidden: tuple[int, ...] = (64, 64),
        activation: str | Activation = "relu",
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Draw a point x₀ from a standard normal; the layer starts as the identity, with β = 0.

        Args:
            dim: number of entries.
            condition_dim: length of the condition; None for none, and then the settings below
                must be left out.
            hidden: widths of the network from the condition to the parameters.
            activation: name or function.
            compute_dtype: of the network's products; see `conditioners.check_compute_dtype`.
            rngs: source of x₀ and of the network's weights.
        """
        self.event_shape = (check_positive_int(dim, "dim"),)
        center = normal(rngs.params(), (dim,))
        self.params = AmortizedParams(
            jnp.concatenate([center, jnp.zeros(2)]),
            condition_dim=condition_dim,
            hidden=hidden,
            activation=activation,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        self.condition_shape = self.params.condition_shape

    @classmethod
    def from_arrays(cls, center: Any, alpha: float, beta: float) -> Self:
        """f(x) = x + β (x - x₀) / (α + |x - x₀|) at the start, with these numbers.

        Args:
            center: x₀, (dim,), entries between -50 and 50.
            alpha: α, positive.
            beta: β, above -α.

        Raises:
            ValueError: β is so low that the map has no inverse, or a number is out of bounds.
        """
        center = given_array(center, "center")
        alpha, beta = (float(given_array(n, s, ())) for n, s in ((alpha, "alpha"), (beta, "beta")))
        raw_alpha = before_scale(
            np.atleast_1d(alpha / math.sqrt(len(center))), _MAX_LOG_SCALE, "alpha / √dim"
        )
        raw = float(before_slope_factor(jnp.asarray(beta / alpha)))
        if not abs(raw) < _MAX_PARAM:
            low, high = (n * float(slope_factor(jnp.asarray(n))) for n in (-_MAX_PARAM, _MAX_PARAM))
            raise ValueError(
                f"beta is {beta:g}; expected a number between {low * alpha:.4g} and "
                f"{high * alpha:.4g}, as alpha is {alpha:g}: at -alpha a point would be squeezed "
                f"into x₀, and the map has no inverse"
            )
        layer = cls(len(center), rngs=nnx.Rngs(0))
        raw_center = before_soft_clip(center, _MAX_PARAM, "center")
        raw_m = before_soft_clip(np.array([raw]), _MAX_PARAM, "beta")
        params = np.concatenate([raw_center, raw_alpha, raw_m])
        layer.params.value[...] = jnp.asarray(params, default_dtype())
        return layer

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        center, alpha, m = self._params(condition)
        offset = x - center
        nearness = alpha / (alpha + norm(offset))
        return x + m * nearness * offset, self._log_det(m, nearness)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        center, alpha, m = self._params(condition)
        offset = y - center
        nearness = _nearness(alpha, m, norm(offset))
        stretch = m * nearness
        return y - stretch / (1 + stretch) * offset, -self._log_det(m, nearness)

    def _params(self, condition: Array | None) -> tuple[Array, Array, Array]:
        """The point x₀, the numbers α and m = β / α."""
        params = self.params(condition)
        # In units of the distance that a standard normal has from zero.
        alpha = math.sqrt(params.size - 2) * jnp.exp(log_scale(params[-2], _MAX_LOG_SCALE))
        center, raw = soft_clip(params[:-2], _MAX_PARAM), soft_clip(params[-1], _MAX_PARAM)
        return center, alpha, raw * slope_factor(raw)

    def _log_det(self, m: Array, nearness: Array) -> Array:
        """Each direction across the ray to x₀ is stretched alike, the ray itself otherwise."""
        (dim,) = self.event_shape
        return (dim - 1) * jnp.log1p(m * nearness) + jnp.log1p(m * nearness**2)


def _nearness(alpha: Array, m: Array, distance: Array) -> Array:
    """α / (α + r), where r is the distance from x₀ before the map.

    It solves r² + r (α (1 + m) - distance) - α distance = 0, here in units in which α and the
    distance sum to one.
    """
    unit = alpha + distance
    alpha, distance = alpha / unit, distance / unit
    linear = alpha * (1 + m) - distance
    larger = 0.5 * (jnp.abs(linear) + jnp.sqrt(linear**2 + 4 * alpha * distance))
    # Of the roots, of opposite signs, the one that a formula would cancel follows from the other.
    r = jnp.where(linear < 0, larger, alpha * distance / larger)
    return alpha / (alpha + r)
