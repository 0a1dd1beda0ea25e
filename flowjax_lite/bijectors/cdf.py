"""Distribution functions: elementwise maps between a distribution and the uniform one.

Every variable with an increasing distribution function F is the image F⁻¹(U) of a uniform U. So
one distribution function after the inverse of another leads from any distribution on the line
to any other, exactly:

    Chain([NormalCDF(1), Invert(GaussianMixtureCDF(1, num_components=3, rngs=rngs))])

maps a standard normal to a mixture. Uniforms near 1 are as coarse as the dtype, so a far upper
tail is too; the lower one is not.
"""

import math
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.scipy.special import betainc, log_ndtr, ndtr, ndtri

from flowjax_lite.bijectors.elementwise import AbstractElementwise
from flowjax_lite.bijectors.given import as_dim, before_scale, given_array
from flowjax_lite.core.arrays import zeros
from flowjax_lite.core.checks import check_positive_int, default_dtype
from flowjax_lite.numerics.random import normal
from flowjax_lite.numerics.root import monotone_root
from flowjax_lite.numerics.scalar import log_scale

_MAX_LOG_SCALE = 10.0


class NormalCDF(AbstractElementwise):
    """The standard normal distribution function Φ: real numbers to (0, 1)."""

    image = (0.0, 1.0)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return ndtr(x), _log_normal(x)

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        x = ndtri(y)
        return x, -_log_normal(x)


class BetaCDF(AbstractElementwise):
    """The distribution function of Beta(alpha, beta): (0, 1) to (0, 1).

    The inverse is a bracketed root.
    """

    domain = image = (0.0, 1.0)

    def __init__(self, dim: int | Sequence[int], *, alpha: float, beta: float) -> None:
        """Build it.

        Args:
            dim: number of entries, or the shape of an event.
            alpha: shape at 0, positive.
            beta: shape at 1, positive.

        Raises:
            ValueError: alpha or beta is not positive and finite.
        """
        super().__init__(dim)
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}; expected a positive number")
        self.alpha, self.beta = float(alpha), float(beta)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return self._cdf(x), self._log_density(jnp.log(x), jnp.log1p(-x))

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        # All logits are allowed, so no bracket leaves the domain.
        def distance(logit: Array) -> Array:
            return self._cdf(jax.nn.sigmoid(logit)) - y

        logit = monotone_root(distance, jnp.zeros_like(y))
        log_density = self._log_density(jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit))
        return jax.nn.sigmoid(logit), -log_density

    def _cdf(self, x: Array) -> Array:
        return betainc(jnp.full_like(x, self.alpha), jnp.full_like(x, self.beta), x)

    def _log_density(self, log_x: Array, log_rest: Array) -> Array:
        a, b = self.alpha, self.beta  # not jax's betaln, which is wrong from the ninth digit on
        normaliser = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
        return (a - 1) * log_x + (b - 1) * log_rest - normaliser


class GaussianMixtureCDF(AbstractElementwise):
    """The distribution function of a learned mixture of normals: real numbers to (0, 1).

    `Invert` of it maps a uniform to the mixture. Each entry has a mixture of its own; together
    they are a product of mixtures. The inverse is a bracketed root.
    """

    image = (0.0, 1.0)

    def __init__(self, dim: int | Sequence[int], *, num_components: int, rngs: nnx.Rngs) -> None:
        """Build equal weights, unit scales and standard normal means.

        Args:
            dim: number of entries, or the shape of an event.
            num_components: number of normals.
            rngs: source of the initial means; equal ones would never part.
        """
        super().__init__(dim)
        shape = (check_positive_int(num_components, "num_components"), *self.event_shape)
        self.logits = nnx.Param(zeros(shape))
        self.locs = nnx.Param(normal(rngs.params(), shape))
        self.raw_scales = nnx.Param(zeros(shape))

    @classmethod
    def from_arrays(cls, weights: Any, locs: Any, scales: Any) -> Self:
        """The distribution function of this mixture at the start.

        Args:
            weights: (num_components, *event_shape), positive; those of an entry add up to one.
            locs: (num_components, *event_shape).
            scales: (num_components, *event_shape), positive.

        Raises:
            ValueError: the shapes differ, or a weight or scale is not positive.
        """
        locs = given_array(locs, "locs")
        weights, scales = (
            given_array(value, name, locs.shape)
            for value, name in ((weights, "weights"), (scales, "scales"))
        )
        if np.any(weights <= 0) or not np.allclose(np.sum(weights, axis=0), 1.0, atol=1e-5):
            raise ValueError("weights must be positive and add up to one over axis 0; divide them")
        dtype = default_dtype()
        layer = cls(as_dim(locs.shape[1:]), num_components=len(locs), rngs=nnx.Rngs(0))
        layer.logits[...], layer.locs[...] = (
            jnp.asarray(v, dtype) for v in (np.log(weights), locs)
        )
        raw_scales = before_scale(scales, _MAX_LOG_SCALE, "scales")
        layer.raw_scales[...] = jnp.asarray(raw_scales, dtype)
        return layer

    def _forward(self, x: Array) -> tuple[Array, Array]:
        log_weights, z, _ = self._components(x)
        return jnp.sum(jnp.exp(log_weights) * ndtr(z), axis=0), self._log_density(x)

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        log_below, log_above = jnp.log(y), jnp.log1p(-y)

        # The logarithm of the smaller tail has a slope wherever the root lies.
        def distance(x: Array) -> Array:
            log_weights, z, _ = self._components(x)
            below = jax.nn.logsumexp(log_weights + log_ndtr(z), axis=0) - log_below
            above = jax.nn.logsumexp(log_weights + log_ndtr(-z), axis=0) - log_above
            return jnp.where(y < 0.5, below, -above)

        x = monotone_root(distance, jnp.zeros_like(y))
        return x, -self._log_density(x)

    def _log_density(self, x: Array) -> Array:
        log_weights, z, log_scales = self._components(x)
        return jax.nn.logsumexp(log_weights + _log_normal(z) - log_scales, axis=0)

    def _components(self, x: Array) -> tuple[Array, Array, Array]:
        """Log-weights, standardised values and log-scales, (num_components, *event_shape) each."""
        log_scales = log_scale(self.raw_scales[...], _MAX_LOG_SCALE)
        z = (x[None] - self.locs[...]) * jnp.exp(-log_scales)
        return jax.nn.log_softmax(self.logits[...], axis=0), z, log_scales


def _log_normal(x: Array) -> Array:
    return -0.5 * x * x - 0.5 * math.log(2 * math.pi)
