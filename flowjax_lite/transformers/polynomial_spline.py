"""Monotone splines of polynomials: linear, quadratic and cubic, without cancellation.

All three are polynomials in the direction of densities, from the data y to the latent x, as the
cumulative distribution functions of their papers are. On each bin, z is the distance to the left
end as a fraction of the bin, and o = 1 - z that to the right end.
"""

import operator
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from flowjax_lite.numerics.root import monotone_root
from flowjax_lite.transformers.base import check_bound, check_min_slope
from flowjax_lite.transformers.knots import (
    AbstractTailedSpline,
    Knots,
    bounded_exp,
    check_bins,
    not_negative,
    sum_where,
)


@dataclass(frozen=True)
class LinearSpline(AbstractTailedSpline):
    """A piecewise linear map of [-bound, bound] onto itself, the identity outside.

    Its slope, and so the density, jumps at every knot and at both ends. Bins are equal on the
    side of the data.

    Neural Importance Sampling: Müller, McWilliams, Rousselle, Gross and Novák, 2019,
    arXiv:1808.03856, section 4.

    Parameters per scalar: `num_bins` logits of the bins' sizes on the side of the latent.

    Attributes:
        num_bins: number of bins K, at least 2.
        bound: half-width B of the interval that the spline acts on.
        min_bin: smallest size of a bin, as a fraction of the interval; below 1 / K.
    """

    num_bins: int = 8
    bound: float = 5.0
    min_bin: float = 1e-3

    def __post_init__(self) -> None:
        check_bins(self.num_bins, self.min_bin)
        check_bound(self.bound)

    @property
    def num_params(self) -> int:
        return self.num_bins

    def _inside(self, params: Array, value: Array, *, forward: bool) -> tuple[Array, Array]:
        knots_x = self._learned_knots(params, value)
        count = jnp.full_like(value, self.num_bins)
        knots_y = knots_x._replace(weights=jnp.ones_like(params), total=count)
        source, target = (knots_x, knots_y) if forward else (knots_y, knots_x)
        index = source.find(value)
        (start, end), (image_start, image_end) = source.ends(index), target.ends(index)
        z, o = _fractions(value, start, end)
        size = image_end - image_start
        result = _from_nearer(image_start, image_end, z, size * z, size * o)
        return result, jnp.log(size / (end - start))


@dataclass(frozen=True)
class QuadraticSpline(AbstractTailedSpline):
    """A piecewise quadratic map of [-bound, bound] onto itself, the identity outside.

    Its slope is continuous and piecewise linear. The paper scales slopes at all knots so that
    the areas below add up to one; here the slope at both ends is one, as of the tails, which
    makes it the weighted mean of the inner ones.

    Neural Importance Sampling: Müller, McWilliams, Rousselle, Gross and Novák, 2019,
    arXiv:1808.03856, section 4.

    Parameters per scalar: `num_bins` logits of widths on the side of the data and
    `num_bins - 1` logarithms of slopes at inner knots, up to the scale that the area fixes.

    Attributes:
        num_bins: number of bins K, at least 3: two have no slope to choose.
        bound: half-width B of the interval that the spline acts on.
        min_bin: smallest width, as a fraction of the interval; below 1 / K.
        min_slope: smallest slope ∂x/∂y at an inner knot.
    """

    num_bins: int = 8
    bound: float = 5.0
    min_bin: float = 1e-3
    min_slope: float = 1e-3

    def __post_init__(self) -> None:
        check_bins(self.num_bins, self.min_bin, minimum=3)
        check_bound(self.bound)
        check_min_slope(self.min_slope)

    @property
    def num_params(self) -> int:
        return 2 * self.num_bins - 1

    def _inside(self, params: Array, value: Array, *, forward: bool) -> tuple[Array, Array]:
        knots_y = self._learned_knots(params[: self.num_bins], value)
        slopes, knots_x = self._slopes_and_areas(knots_y, params[self.num_bins :])
        index = (knots_x if forward else knots_y).find(value)
        (x0, x1), (y0, y1) = knots_x.ends(index), knots_y.ends(index)
        d0 = sum_where(operator.eq, slopes, index)
        d1 = sum_where(operator.eq, slopes, index + 1)
        width = y1 - y0
        if forward:
            p, q = _fractions(value, x0, x1)
            slope = jnp.sqrt(d1 * d1 * p + d0 * d0 * q)
            z, o = (d0 + d1) * p / (d0 + slope), (d0 + d1) * q / (d1 + slope)
            return _from_nearer(y0, y1, z, width * z, width * o), -jnp.log(slope)
        z, o = _fractions(value, y0, y1)
        from_left = 0.5 * width * z * (d0 * (1 + o) + d1 * z)
        from_right = 0.5 * width * o * (d1 * (1 + z) + d0 * o)
        return _from_nearer(x0, x1, z, from_left, from_right), jnp.log(d0 * o + d1 * z)

    def _slopes_and_areas(self, knots_y: Knots, logits: Array) -> tuple[Array, Knots]:
        """The slopes at all knots, and the knots that their areas make on the other axis."""
        widths = knots_y.fractions()
        raw, around = bounded_exp(logits), widths[:-1] + widths[1:]
        mean = jnp.sum(raw * around, axis=0) / jnp.sum(around, axis=0)
        inner = self.min_slope + (1 - self.min_slope) * raw / mean[None]
        slopes = _between(jnp.ones_like(mean), inner, jnp.ones_like(mean))
        areas = widths * (slopes[:-1] + slopes[1:])
        return slopes, knots_y._replace(weights=areas, total=jnp.sum(areas, axis=0), min_bin=0.0)


@dataclass(frozen=True)
class CubicSpline(AbstractTailedSpline):
    """A piecewise cubic map of [-bound, bound] onto itself, the identity outside.

    Its slope is continuous inside; slopes at the ends are free, so that the density may jump
    there. The direction of densities is a polynomial; the other one finds its root.

    Cubic-Spline Flows: Durkan, Bekasov, Murray and Papamakarios, 2019, arXiv:1906.02145; slopes
    at inner knots by the conditions of Steffen, 1990.

    Parameters per scalar: `num_bins` logits of widths on the side of the data, `num_bins`
    logits of heights on that of the latent, and the slopes at both ends, as logits of their
    ratio to the largest that is monotone.

    Attributes:
        num_bins: number of bins K, at least 2.
        bound: half-width B of the interval that the spline acts on.
        min_bin: smallest width and height, as a fraction of the interval; below 1 / K.
    """

    num_bins: int = 8
    bound: float = 5.0
    min_bin: float = 1e-3

    def __post_init__(self) -> None:
        check_bins(self.num_bins, self.min_bin)
        check_bound(self.bound)

    @property
    def num_params(self) -> int:
        return 2 * self.num_bins + 2

    def _inside(self, params: Array, value: Array, *, forward: bool) -> tuple[Array, Array]:
        widths, heights, ends = jnp.split(params, [self.num_bins, 2 * self.num_bins])
        knots_y, knots_x = self._learned_knots(widths, value), self._learned_knots(heights, value)
        slopes = _steffen_slopes(knots_y.fractions(), knots_x.fractions(), ends)
        index = (knots_x if forward else knots_y).find(value)
        (x0, x1), (y0, y1) = knots_x.ends(index), knots_y.ends(index)
        width, height = y1 - y0, x1 - x0
        # The slopes at both ends, relative to that of the chord.
        chord = height / width
        a = sum_where(operator.eq, slopes, index) / chord
        b = sum_where(operator.eq, slopes, index + 1) / chord
        if forward:
            p, q = _fractions(value, x0, x1)
            z, o = _cubic_root(a, b, p, q)
            result = _from_nearer(y0, y1, z, width * z, width * o)
            return result, -jnp.log(chord * _cubic_slope(a, b, z, o))
        z, o = _fractions(value, y0, y1)
        result = _from_nearer(x0, x1, z, height * _cubic(a, b, z, o), height * _cubic(b, a, o, z))
        return result, jnp.log(chord * _cubic_slope(a, b, z, o))


def _fractions(value: Array, start: Array, end: Array) -> tuple[Array, Array]:
    """The distances to both ends of a bin, as fractions of the bin.

    Their sum is one, and one of them exactly zero at a knot, however the knots were rounded.
    """
    from_left, from_right = not_negative(value - start), not_negative(end - value)
    size = from_left + from_right
    return from_left / size, from_right / size


def _from_nearer(start: Array, end: Array, z: Array, from_left: Array, from_right: Array) -> Array:
    """A point by its distance to that end of a bin that is nearer."""
    return jnp.where(z < 0.5, start + from_left, end - from_right)


def _between(first: Array, inner: Array, last: Array) -> Array:
    return jnp.concatenate([first[None], inner, last[None]])


def _steffen_slopes(widths: Array, heights: Array, raw_ends: Array) -> Array:
    """Slopes (num_bins + 1, *shape) at all knots that make every cubic monotone."""
    chords = heights / widths
    before, after, w0, w1 = chords[:-1], chords[1:], widths[:-1], widths[1:]
    parabola = (before * w1 + after * w0) / (w0 + w1)
    inner = jnp.minimum(2 * jnp.minimum(before, after), parabola)
    # At most three times the chord's slope, and equal to it at zero.
    odds = bounded_exp(raw_ends) / 2
    first, last = 3 * odds / (1 + odds) * jnp.stack([chords[0], chords[-1]])
    return _between(first, inner, last)


def _cubic(a: Array, b: Array, z: Array, o: Array) -> Array:
    """From (0, 0) to (1, 1) with slopes a and b there, below 3: terms of one sign."""
    return z * (a * o * o + (3 - b) * z * o + z * z)


def _cubic_slope(a: Array, b: Array, z: Array, o: Array) -> Array:
    return a * o * o + 2 * (3 - a - b) * z * o + b * z * z


def _cubic_root(a: Array, b: Array, p: Array, q: Array) -> tuple[Array, Array]:
    """The z in [0, 1], and 1 - z, at which the cubic is to one minus the cubic as p is to q."""

    # 1 + z is found to rounding, which is also enough for z, and in few steps where z is zero.
    def distance(v: Array) -> Array:
        z, o = v - 1, 2 - v
        return q * _cubic(a, b, z, o) - p * _cubic(b, a, o, z)

    v = monotone_root(distance, jnp.full_like(p, 1.5), radius=0.5)
    return v - 1, 2 - v
