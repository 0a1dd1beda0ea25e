"""What splines share: an interval cut into bins of learned sizes, and the identity outside."""

import functools
import operator
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
from jax import Array, lax

from flowjax_lite.numerics.scalar import soft_clip
from flowjax_lite.transformers.base import AbstractTransformer

# Weights within one spline differ by a factor of at most exp(2 * 7), about 10^6.
_MAX_LOGIT = 7.0


# A backward pass computes a spline again from its parameters, which takes less time than to store
# and read the masks and sums of every bin. For methods of (params, value, a static argument).
computed_again = functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=(0, 3))


class Knots(NamedTuple):
    """The knots between bins on one axis, whose sizes are proportional to weights.

    Everything is written as arithmetic on arrays of a value's shape, which XLA fuses; an array
    of masks or of knots for all bins would cost more than the spline itself.

    Attributes:
        weights: (num_bins, *shape), positive.
        total: the sum of the weights, of a value's shape.
        low: lower end of the interval.
        high: upper end.
        min_bin: smallest size of a bin, as a fraction of the interval.
    """

    weights: Array
    total: Array
    low: float
    high: float
    min_bin: float

    def find(self, value: Array) -> Array:
        """The index of the bin that holds each value, by comparison with one knot after another.

        Args:
            value: numbers in the interval, any shape.

        Returns:
            The number of inner knots at or below the value, in its dtype.
        """
        covered = count = jnp.zeros_like(value)
        for i, weight in enumerate(self.weights[:-1]):
            covered = covered + weight
            count = count + (value >= self._knot(i + 1, covered)).astype(value.dtype)
        return lax.stop_gradient(computed_once(count, value))

    def ends(self, index: Array) -> tuple[Array, Array]:
        """The knots at both ends of the bin of that index, the last one exact."""
        before = sum_where(operator.lt, self.weights, index)
        through = before + sum_where(operator.eq, self.weights, index)
        end = self._knot(index + 1, through)
        last = index == len(self.weights) - 1
        return self._knot(index, before), jnp.where(last, self.high, end)

    def fractions(self) -> Array:
        """The sizes of all bins, as fractions of the interval: (num_bins, *shape)."""
        return self.min_bin + self._free * (self.weights / self.total[None])

    def _knot(self, count: int | Array, weight: Array) -> Array:
        """The knot right of `count` bins that hold `weight` of the total weight."""
        fraction = self.min_bin * count + self._free * (weight / self.total)
        return (self.high - self.low) * fraction + self.low

    @property
    def _free(self) -> float:
        """The fraction of the interval that the weights share out."""
        return 1.0 - self.min_bin * len(self.weights)


def learned_knots(
    logits: Array, value: Array, *, interval: tuple[float, float], min_bin: float
) -> Knots:
    """Knots from logits without limits; of zeros, they are evenly spaced.

    Args:
        logits: (num_bins, *shape).
        value: any array of that shape, for its dtype.
        interval: its two ends.
        min_bin: smallest size of a bin, as a fraction of the interval.
    """
    weights = bounded_exp(logits)
    return Knots(weights, sum_where(_always, weights, value), *interval, min_bin)


def bounded_exp(logits: Array) -> Array:
    """exp, softly bounded to [exp(-7), exp(7)]."""
    return jnp.exp(soft_clip(logits, _MAX_LOGIT))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def sum_where(relation: Callable[[Any, Any], Any], values: Array, count: Array) -> Array:
    """The sum over axis 0 of those values[i] for which relation(i, count).

    Unrolled, so that it takes one pass over the values. Its derivative is a sum over axis 0,
    whose transpose is a mask; that of the unrolled sum would be a chain of paddings.
    """
    total = jnp.zeros_like(count)
    for i, value in enumerate(values):
        total = total + jnp.where(relation(i, count), value, 0.0)
    return computed_once(total, count)


@sum_where.defjvp
def _sum_where_jvp(
    relation: Callable[[Any, Any], Any],
    primals: tuple[Array, Array],
    tangents: tuple[Array, Array],
) -> tuple[Array, Array]:
    values, count = primals
    index = lax.broadcasted_iota(count.dtype, values.shape, 0)
    tangent = jnp.sum(jnp.where(relation(index, count[None]), tangents[0], 0.0), axis=0)
    return sum_where(relation, values, count), computed_once(tangent, count)


def _always(i: Any, count: Any) -> bool:
    return True


def computed_once(x: Array, number: Array) -> Array:
    """x, in a form that XLA computes once, both forwards and in a backward pass.

    XLA on CPU repeats cheap operations inside everything that uses their result, such as for
    each of the parameters that a cotangent is spread over; it does not repeat a division. This
    one is by 1, which XLA cannot know, as `number` might be NaN.
    """
    return x / jnp.where(number == number, 1.0, jnp.nan)


def not_negative(distance: Array) -> Array:
    """A distance in a bin: zero, not less, where a value lies on a knot that was rounded."""
    return jnp.where(distance > 0, distance, distance - lax.stop_gradient(distance))


class AbstractTailedSpline(AbstractTransformer):
    """A spline from [-bound, bound] onto itself, the identity outside."""

    num_bins: int
    bound: float
    min_bin: float

    @abstractmethod
    def _inside(self, params: Array, value: Array, *, forward: bool) -> tuple[Array, Array]:
        """One of the two directions, and its log-derivative, for values in the interval."""

    @final
    def forward_and_log_det(self, params: Array, x: Array) -> tuple[Array, Array]:
        return self._apply(params, x, True)

    @final
    def inverse_and_log_det(self, params: Array, y: Array) -> tuple[Array, Array]:
        return self._apply(params, y, False)

    @computed_again
    def _apply(self, params: Array, value: Array, forward: bool) -> tuple[Array, Array]:
        # Values outside are replaced before the spline, so their gradients stay finite.
        inside = (value >= -self.bound) & (value <= self.bound)
        safe = jnp.where(inside, value, 0.0)
        result, log_det = self._inside(params, safe, forward=forward)
        return jnp.where(inside, result, value), jnp.where(inside, log_det, 0.0)

    def _learned_knots(self, logits: Array, value: Array) -> Knots:
        interval = (-self.bound, self.bound)
        return learned_knots(logits, value, interval=interval, min_bin=self.min_bin)


def check_bins(num_bins: int, min_bin: float, *, minimum: int = 2) -> None:
    """Raise unless that many bins of that size fit into an interval.

    Raises:
        ValueError: there are too few bins, or they do not fit.
    """
    if num_bins < minimum:
        raise ValueError(f"num_bins is {num_bins}; expected at least {minimum}")
    if not 0 < min_bin * num_bins < 1:
        raise ValueError(
            f"min_bin is {min_bin}; expected a number between 0 and 1 / num_bins = "
            f"{1 / num_bins}, or the bins do not fit into the interval"
        )
