"""The rational-quadratic spline: its numbers, its limits, and the equations of the paper."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.gradients import with_gradients
from jax import Array

from flowjax_lite.transformers import RationalQuadraticSpline

SPLINE = RationalQuadraticSpline(num_bins=8, bound=5.0)
NUM = 2000


class Knots(NamedTuple):
    """Knots (num, K + 1) and the slopes there, in float64."""

    x: np.ndarray
    y: np.ndarray
    slope: np.ndarray


def knots(params: np.ndarray, spline: RationalQuadraticSpline = SPLINE) -> Knots:
    """The knots that parameters (num_params, num) stand for: softmax, cumulative sums.

    The paper's knots, of parameters that are bounded softly first: logits at 7, slopes at 1000.
    """
    params = np.asarray(params, np.float64).T
    num_bins = spline.num_bins

    def bounded(raw: np.ndarray, bound: float) -> np.ndarray:
        return bound * np.tanh(raw / bound)

    def positions(logits: np.ndarray) -> np.ndarray:
        weights = np.exp(bounded(logits, 7.0))
        weights /= weights.sum(axis=1, keepdims=True)
        sizes = spline.min_bin + (1 - num_bins * spline.min_bin) * weights
        inner = np.cumsum(sizes, axis=1)[:, :-1]
        ends = np.zeros((len(logits), 1))
        return spline.bound * (2 * np.concatenate([ends, inner, ends + 1], axis=1) - 1)

    inner = bounded(params[:, 2 * num_bins :], 1000.0) + np.log(np.expm1(1 - spline.min_slope))
    slopes = np.pad(spline.min_slope + np.logaddexp(0, inner), ((0, 0), (1, 1)), constant_values=1)
    return Knots(
        positions(params[:, :num_bins]), positions(params[:, num_bins : -num_bins + 1]), slopes
    )


def in_bins(k: Knots, edges: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, ...]:
    """x, y, width, height and both slopes of the bin that holds each value."""
    i = np.sum(value[:, None] >= edges[:, 1:-1], axis=1)
    rows = np.arange(len(value))
    x0, y0 = k.x[rows, i], k.y[rows, i]
    width, height = k.x[rows, i + 1] - x0, k.y[rows, i + 1] - y0
    return x0, y0, width, height, k.slope[rows, i], k.slope[rows, i + 1]


def paper_forward(params: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Durkan et al., 2019, equations 4 and 5, as they are printed."""
    k = knots(params)
    x0, y0, w, h, d0, d1 = in_bins(k, k.x, x)
    s, xi = h / w, (x - x0) / w
    denominator = s + (d1 + d0 - 2 * s) * xi * (1 - xi)
    y = y0 + h * (s * xi**2 + d0 * xi * (1 - xi)) / denominator
    slope = s**2 * (d1 * xi**2 + 2 * s * xi * (1 - xi) + d0 * (1 - xi) ** 2) / denominator**2
    return y, np.log(slope)


def paper_inverse(params: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Durkan et al., 2019, equations 6 to 8, as they are printed."""
    k = knots(params)
    x0, y0, w, h, d0, d1 = in_bins(k, k.y, y)
    s = h / w
    bend = (y - y0) * (d1 + d0 - 2 * s)
    a, b, c = h * (s - d0) + bend, h * d0 - bend, -s * (y - y0)
    return x0 + w * 2 * c / (-b - np.sqrt(b**2 - 4 * a * c))


def draw(scale: float, dtype: np.dtype, spline: RationalQuadraticSpline = SPLINE) -> Array:
    """Parameters (num_params, NUM)."""
    noise = np.random.default_rng(0).normal(size=(spline.num_params, NUM))
    return jnp.asarray(scale * noise, dtype)


def values(params: Array, edges: np.ndarray) -> Array:
    """One value for each column: anywhere, at a knot, next to a knot, or at an end."""
    rng = np.random.default_rng(1)
    anywhere = rng.uniform(-5, 5, size=NUM)
    knot = edges[np.arange(NUM), rng.integers(0, SPLINE.num_bins + 1, size=NUM)]
    x = jnp.asarray(np.where(np.arange(NUM) % 2, anywhere, knot), params.dtype)
    aside = jnp.asarray(rng.choice([-np.inf, np.inf], size=NUM), params.dtype)
    return jnp.where(np.arange(NUM) % 4 == 0, jnp.nextafter(x, aside), x)


# Optimised, as users have it: otherwise the exponential of one number may be computed in two ways
# within a program, and knots that differ by a rounding make the way back another one.
@functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 3})
def everything(params: Array, value: Array) -> tuple[Array, ...]:
    """Both directions at the value and the way back, and the gradients of all results."""
    forward, inverse = SPLINE.forward_and_log_det, SPLINE.inverse_and_log_det
    y, log_slope = forward(params, value)
    x, _ = inverse(params, y)
    results = [y, log_slope, x]
    for function in (forward, inverse):
        results += with_gradients(function, params, value)
    return tuple(results)


@pytest.mark.parametrize("scale", [1.0, 3.0, 10.0, 30.0])
def test_round_trip_is_exact_to_rounding(scale: float):
    """Catches cancellation: the error may be that of the rounded input and output alone."""
    params = draw(scale, jnp.float32)
    x = values(params, knots(params).x)
    y, log_slope, back, *_ = everything(params, x)
    size = jnp.abs(x) + 5 + (jnp.abs(y) + 5) / jnp.exp(log_slope)
    error = jnp.abs(back - x) / (jnp.finfo(jnp.float32).eps * size)
    assert jnp.max(error) <= 2.0


@pytest.mark.parametrize("scale", [1.0, 3.0, 10.0, 30.0])
def test_everything_is_finite(scale: float):
    """Catches roots of negative numbers and 0 / 0 at knots, in values and in gradients."""
    params = draw(scale, jnp.float32)
    for edges in (knots(params).x, knots(params).y):
        for result in everything(params, values(params, edges)):
            assert jnp.all(jnp.isfinite(result))


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_tails(scale: float):
    """Catches a spline that is evaluated outside its interval, which spoils the gradients."""
    params = draw(scale, jnp.float32)
    far = np.array([5.000001, 1e3, 1e10, 1e30, 3e38, np.inf], np.float32)
    value = jnp.asarray(np.resize(np.concatenate([far, -far]), NUM))
    y, log_slope, x, *results = everything(params, value)
    np.testing.assert_array_equal(y, value)
    np.testing.assert_array_equal(x, value)
    np.testing.assert_array_equal(log_slope, 0.0)
    for _, _, by_params, by_value, log_by_params, log_by_value in (results[:6], results[6:]):
        np.testing.assert_array_equal(by_value, 1.0)
        for gradient in (by_params, log_by_params, log_by_value):
            np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("size", [1e3, 1e15, 1e30])
def test_extreme_parameters(size: float):
    """Catches slopes that overflow, as a network emits them for an outlier in its input."""
    params = size * jnp.sign(draw(1.0, jnp.float32))
    x = jnp.asarray(np.random.default_rng(1).uniform(-5, 5, size=NUM), jnp.float32)
    for result in everything(params, x):
        assert jnp.all(jnp.isfinite(result))


def test_zero_parameters_are_the_identity(dtype: np.dtype):
    """Catches a flow that does not start as the identity."""
    x = jnp.asarray(np.linspace(-7, 7, NUM), dtype)
    y, log_slope, back, *_ = everything(jnp.zeros((SPLINE.num_params, NUM), dtype), x)
    rounding = 8 * jnp.finfo(dtype).eps
    for result, expected in ((y, x), (back, x), (log_slope, 0.0)):
        np.testing.assert_allclose(result, expected, rtol=0, atol=5 * rounding)


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_continuous_at_the_ends(scale: float, dtype: np.dtype):
    """Catches end knots that are rounded, and a slope at the ends that is not the tails'."""
    params = draw(scale, dtype)
    for end in (-5.0, 5.0):
        at_end = jnp.full(NUM, end, dtype)
        just_inside = jnp.nextafter(at_end, jnp.zeros_like(at_end))
        y, log_slope, back, *_ = everything(params, at_end)
        np.testing.assert_array_equal(y, end)
        np.testing.assert_array_equal(back, end)
        np.testing.assert_allclose(log_slope, 0.0, atol=8 * jnp.finfo(dtype).eps)
        y = everything(params, just_inside)[0]
        assert jnp.all(jnp.abs(y) <= 5.0)
        np.testing.assert_allclose(y, end, rtol=8 * jnp.finfo(dtype).eps)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_agrees_with_the_paper(scale: float, x64: None):
    """Catches a wrong formula, and knots or slopes in the wrong order."""
    params = draw(scale, jnp.float64)
    value = np.random.default_rng(1).uniform(-5, 5, size=NUM)
    y, log_slope, _, *results = everything(params, jnp.asarray(value))
    expected_y, expected_log_slope = paper_forward(np.asarray(params), value)
    np.testing.assert_allclose(y, expected_y, rtol=0, atol=1e-10)
    np.testing.assert_allclose(log_slope, expected_log_slope, rtol=0, atol=1e-10)
    expected_x = paper_inverse(np.asarray(params), value)
    np.testing.assert_allclose(results[6], expected_x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [1.0, 10.0, 30.0])
def test_monotone(scale: float, dtype: np.dtype):
    """Catches a bin that turns back, or a step down from one bin to the next."""
    x = jnp.asarray(np.linspace(-5.1, 5.1, NUM), dtype)
    one = jnp.broadcast_to(draw(scale, dtype)[:, :1], (SPLINE.num_params, NUM))
    for result in everything(one, x)[0::3][:2]:  # forward, and inverse
        assert jnp.all(jnp.diff(result) >= -8 * jnp.finfo(dtype).eps)


def test_any_shape():
    """Catches a spline that assumes vectors."""
    params, x = draw(1.0, jnp.float32)[:, :12], jnp.linspace(-6, 6, 12)
    forward = jax.jit(SPLINE.forward_and_log_det)
    flat = jnp.stack(forward(params, x))
    shaped = jnp.stack(forward(params.reshape(-1, 3, 4), x.reshape(3, 4)))
    np.testing.assert_allclose(shaped.reshape(2, 12), flat, rtol=1e-5, atol=1e-6)
    alone = jnp.stack(forward(params[:, 5], x[5]))
    np.testing.assert_allclose(alone, flat[:, 5], rtol=1e-5, atol=1e-6)


def test_settings_count():
    """Catches a setting that is accepted and ignored."""
    x, params = jnp.asarray([1.9, 2.1]), jnp.ones((5, 2))
    settings = {"num_bins": 2, "bound": 2.0, "min_bin": 0.1, "min_slope": 0.1}
    spline = RationalQuadraticSpline(**settings)
    assert spline.num_params == 5
    assert spline == RationalQuadraticSpline(**settings)
    assert hash(spline) == hash(RationalQuadraticSpline(**settings))
    y, _ = spline.forward_and_log_det(params.at[1:3].set(-3.0), x)
    assert y[0] != x[0] and y[1] == x[1]
    for name, other in (("bound", 3.0), ("min_bin", 0.3), ("min_slope", 0.5)):
        changed = dataclasses.replace(spline, **{name: other})
        assert changed.forward_and_log_det(params.at[1:3].set(-3.0), x)[0][0] != y[0], name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_bins": 1}, "num_bins is 1; expected at least 2"),
        ({"bound": 0.0}, "bound is 0.0; expected a positive"),
        ({"bound": float("nan")}, "bound is nan; expected a positive"),
        ({"num_bins": 4, "min_bin": 0.25}, "min_bin is 0.25; expected.*0.25"),
        ({"min_bin": 0.0}, "min_bin is 0.0; expected"),
        ({"min_slope": 1.0}, "min_slope is 1.0; expected"),
    ],
)
def test_mistakes_are_named(settings: dict[str, float], message: str):
    """Catches a setting that makes the spline impossible."""
    with pytest.raises(ValueError, match=message):
        RationalQuadraticSpline(**settings)
