"""The monotone rational-quadratic spline of Neural Spline Flows, without cancellation."""

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from flowjax_lite.numerics.scalar import soft_clip
from flowjax_lite.transformers.base import AbstractTransformer

# Widths and heights within one spline differ by a factor of at most exp(2 * 7), about 10^6.
_MAX_LOGIT = 7.0
# No slope overflows when squared, whatever the network emits.
_MAX_RAW_SLOPE = 1000.0


@dataclass(frozen=True)
class RationalQuadraticSpline(AbstractTransformer):
    """A monotone rational-quadratic spline on [-bound, bound], the identity outside.

    Neural Spline Flows: Durkan, Bekasov, Murray and Papamakarios, 2019, arXiv:1906.04032,
    equations 4 to 8. The formulas here are written with distances to both ends of a bin, all
    positive, so nothing cancels: the round trip is exact to rounding at any slope.

    Parameters per scalar: `num_bins` logits of widths, `num_bins` logits of heights and
    `num_bins - 1` inner slopes (softplus). The slope at both ends is one, as of the tails.

    Attributes:
        num_bins: number of bins K, at least 2.
        bound: half-width B of the interval that the spline acts on.
        min_bin: smallest width and height, as a fraction of the interval; below 1 / K.
        min_slope: smallest slope at an inner knot.
    """

    num_bins: int = 8
    bound: float = 5.0
    min_bin: float = 1e-3
    min_slope: float = 1e-3

    def __post_init__(self) -> None:
        if self.num_bins < 2:
            raise ValueError(f"num_bins is {self.num_bins}; expected at least 2")
        if not self.bound > 0:
            raise ValueError(f"bound is {self.bound}; expected a positive number")
        if not 0 < self.min_bin * self.num_bins < 1:
            raise ValueError(
                f"min_bin is {self.min_bin}; expected a number between 0 and 1 / num_bins = "
                f"{1 / self.num_bins}, or the bins do not fit into the interval"
            )
        if not 0 < self.min_slope < 1:
            raise ValueError(f"min_slope is {self.min_slope}; expected a number in (0, 1)")

    @property
    def num_params(self) -> int:
        return 3 * self.num_bins - 1

    def forward_and_log_det(self, params: Array, x: Array) -> tuple[Array, Array]:
        return self._apply(params, x, _forward_in_bin, "widths")

    def inverse_and_log_det(self, params: Array, y: Array) -> tuple[Array, Array]:
        return self._apply(params, y, _inverse_in_bin, "heights")

    # A backward pass computes this again from the parameters, which takes less time than to
    # store and read the masks and sums of every bin.
    @functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=(0, 3, 4))
    def _apply(
        self,
        params: Array,
        value: Array,
        map_in_bin: Callable[["_Bin", Array], tuple[Array, Array]],
        search: str,
    ) -> tuple[Array, Array]:
        # Values outside are replaced before the spline, so their gradients stay finite.
        inside = (value >= -self.bound) & (value <= self.bound)
        safe = jnp.where(inside, value, 0.0)
        bin_ = self._find_bin(params, safe, search)
        result, log_det = map_in_bin(bin_, safe)
        return jnp.where(inside, result, value), jnp.where(inside, log_det, 0.0)

    def _find_bin(self, params: Array, value: Array, search: str) -> "_Bin":
        """The bin that holds `value`, by comparison with one knot after the other.

        Everything is written as arithmetic on arrays of value's shape, which XLA fuses; an
        array of masks or of knots for all bins would cost more than the spline itself.
        """
        num_bins = self.num_bins
        widths, heights, slopes = jnp.split(params, [num_bins, 2 * num_bins])
        widths = jnp.exp(soft_clip(widths, _MAX_LOGIT))
        heights = jnp.exp(soft_clip(heights, _MAX_LOGIT))
        total_width, total_height = (_sum_where(_always, w, value) for w in (widths, heights))

        is_width = search == "widths"
        searched, total = (widths, total_width) if is_width else (heights, total_height)
        covered = count = jnp.zeros_like(value)
        for i, weight in enumerate(searched[:-1]):
            covered = covered + weight
            count = count + (value >= self._knot(i + 1, covered, total)).astype(value.dtype)
        count = lax.stop_gradient(_computed_once(count, value))

        def ends(weights: Array, total: Array) -> tuple[Array, Array]:
            before = _sum_where(operator.lt, weights, count)
            through = before + _sum_where(operator.eq, weights, count)
            end = self._knot(count + 1, through, total)
            last = count == num_bins - 1
            return self._knot(count, before, total), jnp.where(last, self.bound, end)

        (x0, x1), (y0, y1) = ends(widths, total_width), ends(heights, total_height)
        # The slope at both ends is one, as of the tails: a raw slope of zero.
        left = _sum_where(operator.eq, slopes, count - 1)
        right = _sum_where(operator.eq, slopes, count)
        return _Bin(
            x0,
            y0,
            x1,
            y1,
            _raw_to_slope(left, self.min_slope),
            _raw_to_slope(right, self.min_slope),
        )

    def _knot(self, count: int | Array, weight: Array, total: Array) -> Array:
        """The knot right of `count` bins that hold `weight` of the `total` weight."""
        free = 1.0 - self.min_bin * self.num_bins
        return 2 * self.bound * (self.min_bin * count + free * (weight / total)) - self.bound


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _sum_where(relation: Callable[[Any, Any], Any], values: Array, count: Array) -> Array:
    """The sum over axis 0 of those values[i] for which relation(i, count).

    Unrolled, so that it takes one pass over the values. Its derivative is a sum over axis 0,
    whose transpose is a mask; that of the unrolled sum would be a chain of paddings.
    """
    total = jnp.zeros_like(count)
    for i, value in enumerate(values):
        total = total + jnp.where(relation(i, count), value, 0.0)
    return _computed_once(total, count)


@_sum_where.defjvp
def _sum_where_jvp(
    relation: Callable[[Any, Any], Any],
    primals: tuple[Array, Array],
    tangents: tuple[Array, Array],
) -> tuple[Array, Array]:
    values, count = primals
    index = lax.broadcasted_iota(count.dtype, values.shape, 0)
    tangent = jnp.sum(jnp.where(relation(index, count[None]), tangents[0], 0.0), axis=0)
    return _sum_where(relation, values, count), _computed_once(tangent, count)


def _always(i: Any, count: Any) -> bool:
    return True


def _computed_once(x: Array, number: Array) -> Array:
    """x, in a form that XLA computes once, both forwards and in a backward pass.

    XLA on CPU repeats cheap operations inside everything that uses their result, such as for
    each of the parameters that a cotangent is spread over; it does not repeat a division. This
    one is by 1, which XLA cannot know, as `number` might be NaN.
    """
    return x / jnp.where(number == number, 1.0, jnp.nan)


class _Bin(NamedTuple):
    """The bin [x0, x1] × [y0, y1] around a value, with its end slopes."""

    x0: Array
    y0: Array
    x1: Array
    y1: Array
    left_slope: Array
    right_slope: Array

    @property
    def width(self) -> Array:
        """From the knots themselves, so that the distances to both ends add up to it."""
        return self.x1 - self.x0

    @property
    def height(self) -> Array:
        return self.y1 - self.y0


def _raw_to_slope(raw: Array, min_slope: float) -> Array:
    """Slope of at least min_slope; one at raw = 0."""
    raw = soft_clip(raw, _MAX_RAW_SLOPE)
    return min_slope + jax.nn.softplus(raw + math.log(math.expm1(1.0 - min_slope)))


def _forward_in_bin(bin_: _Bin, x: Array) -> tuple[Array, Array]:
    s, d0, d1 = bin_.height / bin_.width, bin_.left_slope, bin_.right_slope
    z, o = _fraction(x - bin_.x0, bin_.width), _fraction(bin_.x1 - x, bin_.width)
    denominator = s * (z * z + o * o) + (d0 + d1) * z * o
    from_left = bin_.y0 + bin_.height * z * (s * z + d0 * o) / denominator
    from_right = bin_.y1 - bin_.height * o * (s * o + d1 * z) / denominator
    return jnp.where(z < 0.5, from_left, from_right), _log_slope(s, d0, d1, z, o)


def _inverse_in_bin(bin_: _Bin, y: Array) -> tuple[Array, Array]:
    s, d0, d1 = bin_.height / bin_.width, bin_.left_slope, bin_.right_slope
    p, q = _fraction(y - bin_.y0, bin_.height), _fraction(bin_.y1 - y, bin_.height)
    b = d0 * q - d1 * p
    r = jnp.sqrt(b * b + 4 * s * s * p * q)
    positive = b >= 0
    numerator = jnp.where(positive, 2 * s * p, r - b)
    denominator = jnp.where(positive, b + r, 2 * s * q)
    total = numerator + denominator
    z, o = numerator / total, denominator / total
    x = jnp.where(z < 0.5, bin_.x0 + bin_.width * z, bin_.x1 - bin_.width * o)
    return x, -_log_slope(s, d0, d1, z, o)


def _fraction(distance: Array, size: Array) -> Array:
    """distance / size, not negative where a value lies on a knot that was rounded."""
    return jnp.where(distance > 0, distance, distance - lax.stop_gradient(distance)) / size


def _log_slope(s: Array, d0: Array, d1: Array, z: Array, o: Array) -> Array:
    denominator = s * (z * z + o * o) + (d0 + d1) * z * o
    numerator = d1 * z * z + 2 * s * z * o + d0 * o * o
    ratio = s / denominator
    return jnp.log(ratio * ratio * numerator)
