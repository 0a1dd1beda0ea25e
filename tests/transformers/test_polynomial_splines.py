"""Linear, quadratic and cubic splines: their numbers, their limits, and the papers' equations."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.gradients import everything
from jax import Array

from flowjax_lite.transformers import CubicSpline, LinearSpline
from flowjax_lite.transformers import QuadraticSpline as Quadratic

SPLINES = {"linear": LinearSpline(8, 5.0), "quadratic": Quadratic(8, 5.0), "cubic": CubicSpline(8)}
NUM, BINS, BOUND = 1000, 8, 5.0
every_spline = pytest.mark.parametrize("name", SPLINES)


class Knots(NamedTuple):
    """Knots (num, K + 1) on both sides and the slopes ∂x/∂y there, in float64."""

    y: np.ndarray
    x: np.ndarray
    slope: np.ndarray | None


def softmax_sizes(logits: np.ndarray) -> np.ndarray:
    """Fractions (num, K) of the interval, of logits that are bounded softly at 7."""
    weights = np.exp(7 * np.tanh(logits / 7))
    return 1e-3 + (1 - BINS * 1e-3) * weights / weights.sum(axis=1, keepdims=True)


def positions(sizes: np.ndarray) -> np.ndarray:
    """Knots from sizes of bins."""
    inner = np.cumsum(sizes, axis=1)[:, :-1]
    return BOUND * (2 * np.pad(inner, ((0, 0), (1, 1)), constant_values=(0, 1)) - 1)


def knots(name: str, params: np.ndarray) -> Knots:
    """What parameters (num_params, num) stand for, as in the papers."""
    params = np.asarray(params, np.float64).T
    if name == "linear":
        equal = np.full_like(params, 1 / BINS)
        return Knots(positions(equal), positions(softmax_sizes(params)), None)
    w = softmax_sizes(params[:, :BINS])
    if name == "quadratic":
        v = np.exp(7 * np.tanh(params[:, BINS:] / 7))
        # The area with v at inner knots and `end` at both ends, and the end that is the area.
        between = (v[:, 1:] + v[:, :-1]) / 2 * w[:, 1:-1]
        fixed = between.sum(axis=1) + v[:, 0] * w[:, 0] / 2 + v[:, -1] * w[:, -1] / 2
        end = fixed / (1 - w[:, 0] / 2 - w[:, -1] / 2)
        slope = np.pad(1e-3 + (1 - 1e-3) * v / end[:, None], ((0, 0), (1, 1)), constant_values=1)
        return Knots(positions(w), positions(w * (slope[:, 1:] + slope[:, :-1]) / 2), slope)
    h = softmax_sizes(params[:, BINS : 2 * BINS])
    s = h / w
    # Steffen's slopes, as Durkan et al. print them in equations 5 and 6.
    p = (s[:, :-1] * w[:, 1:] + s[:, 1:] * w[:, :-1]) / (w[:, :-1] + w[:, 1:])
    least = np.minimum(np.minimum(np.abs(s[:, :-1]), np.abs(s[:, 1:])), np.abs(p) / 2)
    inner = (np.sign(s[:, :-1]) + np.sign(s[:, 1:])) * least
    ends = 1 / (1 + 2 * np.exp(-7 * np.tanh(params[:, 2 * BINS :] / 7)))
    slope = [3 * s[:, :1] * ends[:, :1], inner, 3 * s[:, -1:] * ends[:, 1:]]
    return Knots(positions(w), positions(h), np.concatenate(slope, axis=1))


def paper_inverse(name: str, params: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The polynomials from y to x in powers of the distance to the left knot."""
    k = knots(name, params)
    i = np.sum(y[:, None] >= k.y[:, 1:-1], axis=1)
    rows = np.arange(len(y))
    t, x0 = y - k.y[rows, i], k.x[rows, i]
    w = k.y[rows, i + 1] - k.y[rows, i]
    s = (k.x[rows, i + 1] - x0) / w
    if k.slope is None:
        return x0 + s * t, np.log(s)
    d0, d1 = k.slope[rows, i], k.slope[rows, i + 1]
    if name == "quadratic":
        bend = (d1 - d0) / w
        return x0 + d0 * t + bend * t**2 / 2, np.log(d0 + bend * t)
    c2, c3 = (3 * s - 2 * d0 - d1) / w, (d0 + d1 - 2 * s) / w**2
    return x0 + d0 * t + c2 * t**2 + c3 * t**3, np.log(d0 + 2 * c2 * t + 3 * c3 * t**2)


def bisected_forward(name: str, params: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The y that `paper_inverse` maps to x."""
    low, high = np.full_like(x, -BOUND), np.full_like(x, BOUND)
    for _ in range(60):
        middle = (low + high) / 2
        above = paper_inverse(name, params, middle)[0] > x
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


def draw(name: str, scale: float, dtype: np.dtype) -> Array:
    """Parameters (num_params, NUM)."""
    shape = (SPLINES[name].num_params, NUM)
    return jnp.asarray(scale * np.random.default_rng(0).normal(size=shape), dtype)


def values(params: Array, edges: np.ndarray) -> Array:
    """One value for each column: anywhere, at a knot, next to a knot, or at an end."""
    rng = np.random.default_rng(1)
    anywhere = rng.uniform(-BOUND, BOUND, size=NUM)
    knot = edges[np.arange(NUM), rng.integers(0, BINS + 1, size=NUM)]
    x = jnp.asarray(np.where(np.arange(NUM) % 2, anywhere, knot), params.dtype)
    aside = jnp.asarray(rng.choice([-np.inf, np.inf], size=NUM), params.dtype)
    return jnp.where(np.arange(NUM) % 4 == 0, jnp.nextafter(x, aside), x)


@every_spline
@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_agrees_with_the_paper(name: str, scale: float, x64: None):
    """Catches a wrong formula, and knots or slopes in the wrong order."""
    params = draw(name, scale, jnp.float64)
    value = np.random.default_rng(1).uniform(-BOUND, BOUND, size=NUM)
    result = everything(SPLINES[name], params, jnp.asarray(value))
    x, log_slope = paper_inverse(name, np.asarray(params), value)
    np.testing.assert_allclose(result["inverse"][0], x, rtol=0, atol=1e-10)
    np.testing.assert_allclose(result["inverse"][1], log_slope, rtol=0, atol=1e-10)
    y = bisected_forward(name, np.asarray(params), value)
    np.testing.assert_allclose(result["forward"][0], y, rtol=0, atol=1e-10)


@every_spline
@pytest.mark.parametrize("scale", [1.0, 10.0, 30.0])
def test_round_trip_is_exact_to_rounding(name: str, scale: float, dtype: np.dtype):
    """Catches cancellation: the error may be that of rounded inputs, outputs and knots alone."""
    params = draw(name, scale, dtype)
    k = knots(name, params)
    for way, edges in (("forward", k.x), ("inverse", k.y)):
        value = values(params, edges)
        result, log_slope, back, back_log_slope, *_ = everything(SPLINES[name], params, value)[way]
        # At a knot, the way back may meet the next bin and its slope.
        slope = jnp.exp(jnp.minimum(log_slope, -back_log_slope))
        size = jnp.abs(value) + BOUND + (jnp.abs(result) + BOUND) / slope
        error = jnp.abs(back - value) / (jnp.finfo(dtype).eps * size)
        assert jnp.max(error) <= 3.0, way


@every_spline
@pytest.mark.parametrize("scale", [1.0, 10.0, 30.0])
def test_everything_is_finite(name: str, scale: float, dtype: np.dtype):
    """Catches roots of negative numbers and 0 / 0 at knots, in values and in gradients."""
    params = draw(name, scale, dtype)
    k = knots(name, params)
    for edges in (k.x, k.y):
        results = everything(SPLINES[name], params, values(params, edges))
        for result in jax.tree.leaves(results):
            assert jnp.all(jnp.isfinite(result))


@every_spline
@pytest.mark.parametrize("size", [1e3, 1e20, 1e30])
def test_extreme_parameters(name: str, size: float):
    """Catches logits that overflow, as a network emits them for an outlier in its input."""
    params = size * jnp.sign(draw(name, 1.0, jnp.float32))
    value = jnp.asarray(np.random.default_rng(1).uniform(-BOUND, BOUND, size=NUM), jnp.float32)
    for result in jax.tree.leaves(everything(SPLINES[name], params, value)):
        assert jnp.all(jnp.isfinite(result))


@every_spline
def test_tails(name: str):
    """Catches a spline that is evaluated outside its interval, which spoils the gradients."""
    far = np.array([5.000001, 1e3, 1e30, 3e38, np.inf], np.float32)
    value = jnp.asarray(np.resize(np.concatenate([far, -far]), NUM))
    for results in everything(SPLINES[name], draw(name, 30.0, jnp.float32), value).values():
        result, log_slope, back, back_log_slope, *gradients = results
        by_params, by_value, log_by_params, log_by_value = gradients
        for same in (result, back):
            np.testing.assert_array_equal(same, value)
        np.testing.assert_array_equal(by_value, 1.0)
        for zero in (log_slope, back_log_slope, by_params, log_by_params, log_by_value):
            np.testing.assert_array_equal(zero, 0.0)


@every_spline
def test_continuous_at_the_ends(name: str, dtype: np.dtype):
    """Catches end knots that are rounded; and for the quadratic spline, a slope other than one."""
    params = draw(name, 3.0, dtype)
    # `monotone_root` stops at a step of 2 eps, relative to a root at 2, in a bin of any width.
    atol = 4 * jnp.finfo(dtype).eps * 2 * BOUND if name == "cubic" else 0.0
    for end in (-BOUND, BOUND):
        at_end = jnp.full(NUM, end, dtype)
        for result, log_slope, back, *_ in everything(SPLINES[name], params, at_end).values():
            np.testing.assert_allclose(result, end, rtol=0, atol=atol)
            np.testing.assert_allclose(back, end, rtol=0, atol=10 * atol)
            if name == "quadratic":
                np.testing.assert_allclose(log_slope, 0.0, atol=8 * jnp.finfo(dtype).eps)


@every_spline
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_monotone(name: str, scale: float, dtype: np.dtype):
    """Catches a bin that turns back, or a step down from one bin to the next."""
    value = jnp.asarray(np.linspace(-5.1, 5.1, NUM), dtype)
    params = draw(name, scale, dtype)
    one = jnp.broadcast_to(params[:, :1], params.shape)
    for result, *_ in everything(SPLINES[name], one, value).values():
        assert jnp.all(jnp.diff(result) >= -8 * BOUND * jnp.finfo(dtype).eps)


@every_spline
def test_settings_count(name: str):
    """Catches a setting that is accepted and ignored."""
    spline = dataclasses.replace(SPLINES[name], num_bins=3, bound=2.0, min_bin=0.1)
    params, y = jnp.linspace(-3.0, 2.0, spline.num_params), jnp.asarray(0.9)
    changes = {"bound": 3.0, "min_bin": 0.3, "min_slope": 0.5}
    settings = {field.name for field in dataclasses.fields(spline)} - {"num_bins"}
    for setting in settings:
        changed = dataclasses.replace(spline, **{setting: changes[setting]})
        assert changed.inverse_and_log_det(params, y)[0] != spline.inverse_and_log_det(params, y)[0]
    assert dataclasses.replace(spline, num_bins=4).num_params > spline.num_params


@every_spline
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_bins": 1}, "num_bins is 1; expected at least"),
        ({"bound": -1.0}, "bound is -1.0; expected a positive"),
        ({"num_bins": 4, "min_bin": 0.25}, "min_bin is 0.25; expected.*0.25"),
    ],
)
def test_mistakes_are_named(name: str, settings: dict[str, float], message: str):
    """Catches a setting that makes the spline impossible."""
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SPLINES[name], **settings)


def test_a_quadratic_spline_of_two_bins_is_refused():
    """Catches a transformer that can only be the identity."""
    with pytest.raises(ValueError, match="num_bins is 2; expected at least 3"):
        Quadratic(num_bins=2)
