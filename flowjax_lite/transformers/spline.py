"""The monotone rational-quadratic spline of Neural Spline Flows, without cancellation."""

import math
import operator
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from flowjax_lite.numerics.scalar import soft_clip
from flowjax_lite.transformers.base import check_bound, check_min_slope
from flowjax_lite.transformers.knots import (
    AbstractTailedSpline,
    check_bins,
    computed_once,
    learned_knots,
    not_negative,
    sum_where,
)

# No slope overflows when squared, whatever the network emits.
_MAX_RAW_SLOPE = 1000.0


@dataclass(frozen=True)
class RationalQuadraticSpline(AbstractTailedSpline):
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
        check_bins(self.num_bins, self.min_bin)
        check_bound(self.bound)
        check_min_slope(self.min_slope)

    @property
    def num_params(self) -> int:
        return 3 * self.num_bins - 1

    def _inside(self, params: Array, value: Array, *, forward: bool) -> tuple[Array, Array]:
        return rational_quadratic(
            params,
            value,
            num_bins=self.num_bins,
            interval=(-self.bound, self.bound),
            min_bin=self.min_bin,
            min_slope=self.min_slope,
            first_slope=1,  # the slope at both ends is one, as of the tails
            forward=forward,
        )


def rational_quadratic(
    params: Array,
    value: Array,
    *,
    num_bins: int,
    interval: tuple[float, float],
    min_bin: float,
    min_slope: float,
    first_slope: int,
    forward: bool,
) -> tuple[Array, Array]:
    """Map an interval onto itself, in one of the two directions.

    Args:
        params: logits of widths, logits of heights and raw slopes, on axis 0.
        value: in the interval, of params' other axes.
        num_bins: number of bins.
        interval: its two ends.
        min_bin: smallest width and height, as a fraction of the interval.
        min_slope: smallest slope at a knot.
        first_slope: the knot, counted from 0, that the first slope belongs to; the knots that
            are left without a slope get the slope one.
        forward: the direction.

    Returns:
        The image and the logarithm of the derivative there.
    """
    logits_x, logits_y, slopes = jnp.split(params, [num_bins, 2 * num_bins])
    knots_x, knots_y = (
        learned_knots(logits, value, interval=interval, min_bin=min_bin)
        for logits in (logits_x, logits_y)
    )
    index = (knots_x if forward else knots_y).find(value)
    (x0, x1), (y0, y1) = knots_x.ends(index), knots_y.ends(index)
    # A raw slope of zero is a slope of one.
    left = sum_where(operator.eq, slopes, index - first_slope)
    right = sum_where(operator.eq, slopes, index + (1 - first_slope))
    bin_ = _Bin(x0, y0, x1, y1, _raw_to_slope(left, min_slope), _raw_to_slope(right, min_slope))
    return _forward_in_bin(bin_, value) if forward else _inverse_in_bin(bin_, value)


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


@jax.custom_jvp
def _forward_in_bin(bin_: _Bin, x: Array) -> tuple[Array, Array]:
    s, d0, d1 = bin_.height / bin_.width, bin_.left_slope, bin_.right_slope
    z, o = not_negative(x - bin_.x0) / bin_.width, not_negative(bin_.x1 - x) / bin_.width
    denominator = s * (z * z + o * o) + (d0 + d1) * z * o
    from_left = bin_.y0 + bin_.height * z * (s * z + d0 * o) / denominator
    from_right = bin_.y1 - bin_.height * o * (s * o + d1 * z) / denominator
    return jnp.where(z < 0.5, from_left, from_right), _log_slope(s, d0, d1, z, o)


@_forward_in_bin.defjvp
def _forward_in_bin_jvp(
    primals: tuple[_Bin, Array], tangents: tuple[_Bin, Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (bin_, x), (of_bin, of_x) = primals, tangents
    z = computed_once(not_negative(x - bin_.x0) / bin_.width, x)
    o = computed_once(not_negative(bin_.x1 - x) / bin_.width, x)
    place = _Place(bin_, z, o)
    of_z = (of_x - o * of_bin.x0 - z * of_bin.x1) / bin_.width
    of_s = place.of_s(of_bin)
    of_image = place.by_z * of_z + place.of_image(of_s, of_bin)
    of_y = place.above * of_bin.y0 + place.below * of_bin.y1 + bin_.height * of_image
    return _forward_in_bin(bin_, x), (of_y, place.of_log_slope(of_z, of_s, of_bin))


@jax.custom_jvp
def _inverse_in_bin(bin_: _Bin, y: Array) -> tuple[Array, Array]:
    z, o = _place_of(bin_, y)
    s, d0, d1 = bin_.height / bin_.width, bin_.left_slope, bin_.right_slope
    x = jnp.where(z < 0.5, bin_.x0 + bin_.width * z, bin_.x1 - bin_.width * o)
    return x, -_log_slope(s, d0, d1, z, o)


@_inverse_in_bin.defjvp
def _inverse_in_bin_jvp(
    primals: tuple[_Bin, Array], tangents: tuple[_Bin, Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (bin_, y), (of_bin, of_y) = primals, tangents
    z, o = (computed_once(each, y) for each in _place_of(bin_, y))
    place = _Place(bin_, z, o)
    of_image = (of_y - place.above * of_bin.y0 - place.below * of_bin.y1) / bin_.height
    of_s = place.of_s(of_bin)
    of_z = (of_image - place.of_image(of_s, of_bin)) / place.by_z
    of_x = o * of_bin.x0 + z * of_bin.x1 + bin_.width * of_z
    return _inverse_in_bin(bin_, y), (of_x, -place.of_log_slope(of_z, of_s, of_bin))


def _place_of(bin_: _Bin, y: Array) -> tuple[Array, Array]:
    """How far from both ends of a bin the x of a y is, as parts of the width that add up to one."""
    s, d0, d1 = bin_.height / bin_.width, bin_.left_slope, bin_.right_slope
    p, q = not_negative(y - bin_.y0) / bin_.height, not_negative(bin_.y1 - y) / bin_.height
    b = d0 * q - d1 * p
    r = jnp.sqrt(b * b + 4 * s * s * p * q)
    positive = b >= 0
    numerator = jnp.where(positive, 2 * s * p, r - b)
    denominator = jnp.where(positive, b + r, 2 * s * q)
    total = numerator + denominator
    return numerator / total, denominator / total


class _Place:
    """The derivatives at a place in a bin, by written formulas.

    They are written out because XLA on CPU computes what several results share for each of them
    again: of the formulas of automatic differentiation that is nearly all, and both the program
    and the time to compile it would be several times as long.

    Attributes:
        below: the image as a part of the height, of the distance to the lower end.
        above: the same of the distance to the upper end.
        by_z: the derivative of `below` by the place z, a part of the width.
    """

    def __init__(self, bin_: _Bin, z: Array, o: Array) -> None:
        self._s, self._d0, self._d1 = bin_.height / bin_.width, bin_.left_slope, bin_.right_slope
        self._z, self._o, self._width = z, o, bin_.width
        s, d0, d1 = self._s, self._d0, self._d1
        self._denominator = s * (z * z + o * o) + (d0 + d1) * z * o
        self._numerator = d1 * z * z + 2 * s * z * o + d0 * o * o
        self.below = z * (s * z + d0 * o) / self._denominator
        self.above = o * (s * o + d1 * z) / self._denominator
        self.by_z = s * self._numerator / (self._denominator * self._denominator)

    def of_s(self, of_bin: _Bin) -> Array:
        """The tangent of the mean slope s."""
        return (of_bin.height - self._s * of_bin.width) / self._width

    def of_image(self, of_s: Array, of_bin: _Bin) -> Array:
        """The tangent of `below` where z is fixed."""
        z, o, d0, d1 = self._z, self._o, self._d0, self._d1
        both = z * o / self._denominator
        by_s = both * (d1 * z * z - d0 * o * o) / self._denominator
        of_slopes = self.above * of_bin.left_slope - self.below * of_bin.right_slope
        return by_s * of_s + both * of_slopes

    def of_log_slope(self, of_z: Array, of_s: Array, of_bin: _Bin) -> Array:
        """The tangent of the logarithm of the slope."""
        z, o, s, d0, d1 = self._z, self._o, self._s, self._d0, self._d1
        n, d = self._numerator, self._denominator
        by_z = 2 * (d1 * z - d0 * o + s * (o - z)) / n - 2 * (z - o) * (2 * s - d0 - d1) / d
        by_s = 2 * z * o * (1 / n + (d0 + d1) / (s * d))
        by_d0, by_d1 = o * o / n - 2 * z * o / d, z * z / n - 2 * z * o / d
        of_slopes = by_d0 * of_bin.left_slope + by_d1 * of_bin.right_slope
        return by_z * of_z + by_s * of_s + of_slopes


def _log_slope(s: Array, d0: Array, d1: Array, z: Array, o: Array) -> Array:
    denominator = s * (z * z + o * o) + (d0 + d1) * z * o
    numerator = d1 * z * z + 2 * s * z * o + d0 * o * o
    ratio = s / denominator
    return jnp.log(ratio * ratio * numerator)
