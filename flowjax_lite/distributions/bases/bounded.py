"""Distributions on an interval: -inf outside, with a gradient of zero."""

from collections.abc import Callable
from typing import final

import distrax
import jax.numpy as jnp
from jax import Array

from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions.bases.base import AbstractBase, check_number


@final
class Uniform(AbstractBase):
    """Independent uniforms on [low, high], both ends included."""

    @remembers_recipe
    def __init__(self, dim: int, *, low: float = 0.0, high: float = 1.0) -> None:
        """Build it.

        Args:
            dim: length of an event.
            low: lower end of the interval of every coordinate.
            high: upper end.

        Raises:
            ValueError: low is not below high, or an end is not finite.
        """
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = None
        self.low = check_number(low, "low")
        self.high = check_number(high, "high")
        if self.low >= self.high:
            raise ValueError(f"low is {low} and high is {high}; expected low < high: swap them")
        self.support = (self.low, self.high)

    def distribution(self, condition: Array | None = None) -> distrax.Distribution:
        low = jnp.broadcast_to(self.low, self.event_shape)
        high = jnp.broadcast_to(self.high, self.event_shape)
        return distrax.Independent(_ClosedUniform(low, high), 1)


@final
class Beta(AbstractBase):
    """Independent Beta(alpha, beta) variables on [0, 1].

    Points within rounding of an end count as the nearest point inside, so that the density of
    a sample and its gradient are finite.
    """

    @remembers_recipe
    def __init__(self, dim: int, *, alpha: float, beta: float) -> None:
        """Build it.

        Args:
            dim: length of an event.
            alpha: shape at 0, positive.
            beta: shape at 1, positive.

        Raises:
            ValueError: alpha or beta is not positive.
        """
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = None
        self.alpha = check_number(alpha, "alpha", above=0.0)
        self.beta = check_number(beta, "beta", above=0.0)
        self.support = (0.0, 1.0)

    def distribution(self, condition: Array | None = None) -> distrax.Distribution:
        alpha = jnp.broadcast_to(self.alpha, self.event_shape)
        beta = jnp.broadcast_to(self.beta, self.event_shape)
        return distrax.Independent(_ClosedBeta(alpha, beta), 1)


class _ClosedUniform(distrax.Uniform):
    def log_prob(self, value: Array) -> Array:
        def density(inside: Array) -> Array:
            return jnp.full_like(inside, -jnp.log(self.high - self.low))

        return _limited(density, value, self.low, self.high)


class _ClosedBeta(distrax.Beta):
    def log_prob(self, value: Array) -> Array:
        limits = jnp.finfo(value.dtype)
        nearest_0, nearest_1 = limits.tiny**0.5, 1 - limits.epsneg  # 1 / nearest_0 is finite

        def density(inside: Array) -> Array:
            return super(_ClosedBeta, self).log_prob(jnp.clip(inside, nearest_0, nearest_1))

        return _limited(density, value, jnp.zeros_like(value), jnp.ones_like(value))


def _limited(density: Callable[[Array], Array], value: Array, low: Array, high: Array) -> Array:
    """The log-density inside [low, high], -inf outside, NaN for NaN."""
    inside = (low <= value) & (value <= high)
    # The density never sees a value outside: its gradient there would be NaN times zero.
    log_prob = density(jnp.where(inside, value, 0.5 * low + 0.5 * high))
    return jnp.where(inside, log_prob, jnp.where(jnp.isnan(value), jnp.nan, -jnp.inf))
