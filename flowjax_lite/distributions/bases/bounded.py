"""Distributions on an interval: -inf outside, with a gradient of zero."""

import math
from typing import final

import jax
import jax.numpy as jnp
from jax import Array

from flowjax_lite.core.checks import Shape, check_event_shape
from flowjax_lite.distributions.bases.base import AbstractBase, check_number
from flowjax_lite.numerics.random import uniform


@final
class Uniform(AbstractBase):
    """Independent uniforms on [low, high], both ends included."""

    def __init__(self, dim: int | Shape, *, low: float = 0.0, high: float = 1.0) -> None:
        """Build it.

        Args:
            dim: length of an event, or its shape.
            low: lower end of the interval of every entry.
            high: upper end.

        Raises:
            ValueError: low is not below high, or an end is not finite.
        """
        self.event_shape = check_event_shape(dim)
        self.condition_shape = None
        self.low = check_number(low, "low")
        self.high = check_number(high, "high")
        if self.low >= self.high:
            raise ValueError(f"low is {low} and high is {high}; expected low < high: swap them")
        self.support = (self.low, self.high)

    def log_prob(self, z: Array, condition: Array | None = None) -> Array:
        inside = (self.low <= z) & (z <= self.high)
        return _within(inside, z, jnp.full_like(z, -math.log(self.high - self.low)))

    def sample(self, key: Array, condition: Array | None = None) -> Array:
        return uniform(key, self.event_shape, low=self.low, high=self.high)


@final
class Beta(AbstractBase):
    """Independent Beta(alpha, beta) variables on [0, 1].

    Points within rounding of an end count as the nearest point inside, so that the density of
    a sample and its gradient are finite.
    """

    def __init__(self, dim: int | Shape, *, alpha: float, beta: float) -> None:
        """Build it.

        Args:
            dim: length of an event, or its shape.
            alpha: shape at 0, positive.
            beta: shape at 1, positive.

        Raises:
            ValueError: alpha or beta is not positive.
        """
        self.event_shape = check_event_shape(dim)
        self.condition_shape = None
        self.alpha = check_number(alpha, "alpha", above=0.0)
        self.beta = check_number(beta, "beta", above=0.0)
        self.support = (0.0, 1.0)

    def log_prob(self, z: Array, condition: Array | None = None) -> Array:
        a, b = self.alpha, self.beta
        limits = jnp.finfo(z.dtype)
        nearest_0, nearest_1 = limits.tiny**0.5, 1 - limits.epsneg  # 1 / nearest_0 is finite
        inside = (z >= 0) & (z <= 1)
        # The density never sees a value outside: its gradient there would be NaN times zero.
        x = jnp.clip(jnp.where(inside, z, 0.5), nearest_0, nearest_1)
        log_normalizer = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
        log_density = (a - 1) * jnp.log(x) + (b - 1) * jnp.log1p(-x) - log_normalizer
        return _within(inside, z, log_density)

    def sample(self, key: Array, condition: Array | None = None) -> Array:
        return jax.random.beta(key, self.alpha, self.beta, self.event_shape)


def _within(inside: Array, z: Array, log_densities: Array) -> Array:
    """The sum of log-densities over the entries: -inf where one is outside, NaN for NaN."""
    outside = jnp.where(jnp.isnan(z), jnp.nan, -jnp.inf)
    return jnp.sum(jnp.where(inside, log_densities, outside))
