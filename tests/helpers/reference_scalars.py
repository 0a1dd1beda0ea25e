"""Scalar maps in plain numpy, from the formulas of their papers; see `reference`.

A scalar map takes the raw parameters (num_params,) and a number, and returns a number and the
logarithm of the slope; one known in one direction alone gets the other from `by_bisection`.
"""

from collections.abc import Callable

import numpy as np

Scalar = Callable[[np.ndarray, float], tuple[float, float]]


def affine(params: np.ndarray, x: float) -> tuple[float, float]:
    """y = t + x exp(s): Dinh et al., 2017, arXiv:1605.08803, equation 4; |s| below 5."""
    shift, s = params[0], 5 * np.tanh(params[1] / 5)
    return shift + x * np.exp(s), s


def affine_inverse(params: np.ndarray, y: float) -> tuple[float, float]:
    """x = (y - t) exp(-s)."""
    shift, s = params[0], 5 * np.tanh(params[1] / 5)
    return (y - shift) / np.exp(s), -s


def knots(
    params: np.ndarray, *, num_bins: int, bound: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Knots x, y and slopes, each (num_bins + 1,), of Durkan et al., 2019, arXiv:1906.04032.

    Softmax and cumulative sums as in section 3.1; raw widths and heights are bounded by 7, raw
    slopes by 1000. No bin is narrower than a thousandth of the interval, no slope below 1/1000,
    and a raw slope of zero is a slope of one.
    """
    raw_widths, raw_heights, raw_slopes = np.split(params, [num_bins, 2 * num_bins])

    def positions(raw: np.ndarray) -> np.ndarray:
        weights = np.exp(7 * np.tanh(raw / 7))
        sizes = 2 * bound * (1e-3 + (1 - num_bins * 1e-3) * weights / np.sum(weights))
        return np.concatenate([[-bound], np.cumsum(sizes[:-1]) - bound, [bound]])

    raw_slopes = 1000 * np.tanh(raw_slopes / 1000)
    inner = 1e-3 + np.logaddexp(0, raw_slopes + np.log(np.expm1(1 - 1e-3)))
    return positions(raw_widths), positions(raw_heights), np.array([1.0, *inner, 1.0])


def spline(params: np.ndarray, x: float, *, num_bins: int, bound: float) -> tuple[float, float]:
    """The rational-quadratic spline, equations 4 and 5; the identity outside."""
    if abs(x) > bound:
        return x, 0.0
    xs, ys, slopes = knots(params, num_bins=num_bins, bound=bound)
    k = min(np.searchsorted(xs, x, side="right") - 1, num_bins - 1)
    height, s = ys[k + 1] - ys[k], (ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k])
    d0, d1 = slopes[k], slopes[k + 1]
    xi = (x - xs[k]) / (xs[k + 1] - xs[k])
    denominator = s + (d1 + d0 - 2 * s) * xi * (1 - xi)
    y = ys[k] + height * (s * xi**2 + d0 * xi * (1 - xi)) / denominator
    slope = s**2 * (d1 * xi**2 + 2 * s * xi * (1 - xi) + d0 * (1 - xi) ** 2) / denominator**2
    return y, np.log(slope)


def spline_inverse(
    params: np.ndarray, y: float, *, num_bins: int, bound: float
) -> tuple[float, float]:
    """The root of the quadratic, equations 6 to 8; its slope is that of the spline there."""
    if abs(y) > bound:
        return y, 0.0
    xs, ys, slopes = knots(params, num_bins=num_bins, bound=bound)
    k = min(np.searchsorted(ys, y, side="right") - 1, num_bins - 1)
    width, height = xs[k + 1] - xs[k], ys[k + 1] - ys[k]
    s, d0, d1 = height / width, slopes[k], slopes[k + 1]
    bend = (y - ys[k]) * (d1 + d0 - 2 * s)
    a, b, c = height * (s - d0) + bend, height * d0 - bend, -s * (y - ys[k])
    xi = 2 * c / (-b - np.sqrt(b**2 - 4 * a * c))
    _, log_slope = spline(params, xs[k] + width * xi, num_bins=num_bins, bound=bound)
    return xs[k] + width * xi, -log_slope


def deep_sigmoid(
    y: float, *, slopes: np.ndarray, offsets: np.ndarray, weights: np.ndarray
) -> tuple[float, float]:
    """x = logit(wᵀ σ(a y + b)): Huang et al., 2018, arXiv:1804.00779, equation 8.

    Args:
        y: a number.
        slopes: a, (units,), positive.
        offsets: b, (units,).
        weights: w, (units,), positive, with sum one.
    """
    z = slopes * y + offsets
    log_up, log_down = np.log(weights) - np.logaddexp(0, -z), np.log(weights) - np.logaddexp(0, z)
    inside, outside = np.logaddexp.reduce(log_up), np.logaddexp.reduce(log_down)
    derivative = np.logaddexp.reduce(log_up - np.logaddexp(0, z) + np.log(slopes))
    return inside - outside, derivative - inside - outside


def with_gains(params: np.ndarray) -> np.ndarray:
    """The i-th parameter times 1/2 and the fractional part of i golden sections."""
    return params * (0.5 + (np.arange(len(params)) * (np.sqrt(5) - 1) / 2) % 1)


def naf_inverse(params: np.ndarray, y: float) -> tuple[float, float]:
    """One deep sigmoid with the parameters as a network emits them.

    Three thirds: logarithms of slopes, offsets, logits of weights, bounded by 5, 1000 and 7.
    """
    log_slopes, offsets, logits = with_gains(params).reshape(3, -1)
    weights = np.exp(7 * np.tanh(logits / 7))
    return deep_sigmoid(
        y,
        slopes=np.exp(5 * np.tanh(log_slopes / 5)),
        offsets=1000 * np.tanh(offsets / 1000),
        weights=weights / weights.sum(),
    )


def dense_naf_inverse(params: np.ndarray, y: float, *, units: int) -> tuple[float, float]:
    """Two dense layers of deep sigmoids: equations 10 and 11, with the product of Jacobians.

    Each layer's parameters: logits of U, if it takes more than one number, logarithms of slopes,
    offsets, and logits of W, all as above.
    """
    raw = iter(with_gains(params))

    def take(rows: int, columns: int = 1) -> np.ndarray:
        return np.array([[next(raw) for _ in range(columns)] for _ in range(rows)])

    def mean_weights(rows: int, columns: int) -> np.ndarray:
        weights = np.exp(7 * np.tanh(take(rows, columns) / 7))
        return weights / weights.sum(axis=1, keepdims=True)

    h, jacobian = np.array([y]), np.eye(1)
    for width_in, width_out in ((1, units), (units, 1)):
        u = mean_weights(units, width_in) if width_in > 1 else np.ones((units, 1))
        slopes = np.exp(5 * np.tanh(take(units) / 5))
        z = slopes[:, 0] * (u @ h) + 1000 * np.tanh(take(units)[:, 0] / 1000)
        log_w = np.log(mean_weights(width_out, units))
        ups, downs = log_w - np.logaddexp(0, -z), log_w - np.logaddexp(0, z)
        inside = np.logaddexp.reduce(ups, axis=1, keepdims=True)
        outside = np.logaddexp.reduce(downs, axis=1, keepdims=True)
        # The logit's slope in z: shares of the units in both logarithms, each times its own.
        shares = np.exp(ups - inside - np.logaddexp(0, z)), np.exp(downs - outside)
        by_z = shares[0] + shares[1] * np.exp(-np.logaddexp(0, -z))
        h, jacobian = (inside - outside)[:, 0], by_z @ (slopes * u) @ jacobian
    return h[0], np.log(jacobian[0, 0])


def by_bisection(inverse: Scalar, *, radius: float = 1e3) -> Scalar:
    """The other direction of an increasing scalar map, for results below the radius."""

    def forward(params: np.ndarray, x: float) -> tuple[float, float]:
        low, high = -radius, radius
        while low < (middle := 0.5 * (low + high)) < high:
            if inverse(params, middle)[0] < x:
                low = middle
            else:
                high = middle
        return middle, -inverse(params, middle)[1]

    return forward
