"""The splines on the circle and on the unit interval: their equations, their ends, beyond them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.gradients import everything
from jax import Array

from flowjax_lite.numerics.scalar import wrap_angle
from flowjax_lite.transformers import CircularSpline, UnitSpline

CIRCULAR, UNIT = CircularSpline(num_bins=5), UnitSpline(num_bins=5)
NUM, BINS = 1000, 5


def draw(scale: float, dtype: np.dtype = jnp.float32) -> Array:
    """Parameters (num_params, NUM); both splines have equally many."""
    noise = np.random.default_rng(0).normal(size=(3 * BINS + 1, NUM))
    return jnp.asarray(scale * noise, dtype)


def from_paper(
    params: np.ndarray, slopes: np.ndarray, x: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Durkan et al., 2019, equations 4 and 5, on [low, high], and the knots on x's side."""

    def positions(logits: np.ndarray) -> np.ndarray:
        weights = np.exp(7 * np.tanh(logits / 7))
        sizes = 1e-3 + (1 - BINS * 1e-3) * weights / weights.sum(axis=1, keepdims=True)
        inner = np.cumsum(sizes, axis=1)[:, :-1]
        return low + (high - low) * np.pad(inner, ((0, 0), (1, 1)), constant_values=(0, 1))

    params, raw = np.asarray(params, np.float64).T, np.asarray(slopes, np.float64).T
    raw = 1000 * np.tanh(raw / 1000) + np.log(np.expm1(1 - 1e-3))
    slope = 1e-3 + np.logaddexp(0, raw)
    kx, ky = positions(params[:, :BINS]), positions(params[:, BINS : 2 * BINS])
    rows, i = np.arange(len(x)), np.sum(x[:, None] >= kx[:, 1:-1], axis=1)
    w, h = kx[rows, i + 1] - kx[rows, i], ky[rows, i + 1] - ky[rows, i]
    s, xi, d0, d1 = h / w, (x - kx[rows, i]) / w, slope[rows, i], slope[rows, i + 1]
    denominator = s + (d1 + d0 - 2 * s) * xi * (1 - xi)
    y = ky[rows, i] + h * (s * xi**2 + d0 * xi * (1 - xi)) / denominator
    top = s**2 * (d1 * xi**2 + 2 * s * xi * (1 - xi) + d0 * (1 - xi) ** 2)
    return y, np.log(top / denominator**2), kx


def turns(difference: np.ndarray) -> np.ndarray:
    """A difference of angles without its full turns."""
    return np.abs(np.remainder(np.asarray(difference) + math.pi, 2 * math.pi) - math.pi)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_circular_spline_agrees_with_the_paper(scale: float, x64: None):
    """Catches slopes that differ where the circle closes, and a rotation that is lost."""
    params = draw(scale, jnp.float64)
    p, x = np.asarray(params), np.random.default_rng(1).uniform(-math.pi, math.pi, size=NUM)
    slopes = np.concatenate([p[2 * BINS : -1], p[2 * BINS : 2 * BINS + 1]])
    y, log_slope, _ = from_paper(p, slopes, x, -math.pi, math.pi)
    actual, actual_log_slope, back, *_ = everything(CIRCULAR, params, jnp.asarray(x))["forward"]
    assert np.max(turns(actual - y - p[-1])) < 1e-10
    np.testing.assert_allclose(actual_log_slope, log_slope, rtol=0, atol=1e-10)
    assert np.max(turns(back - x) * np.minimum(1, np.exp(log_slope))) < 1e-10


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_unit_spline_agrees_with_the_paper(scale: float, x64: None):
    """Catches slopes at the ends that are fixed, or in the wrong order."""
    params = draw(scale, jnp.float64)
    p, x = np.asarray(params), np.random.default_rng(1).uniform(size=NUM)
    y, log_slope, _ = from_paper(p, p[2 * BINS :], x, 0.0, 1.0)
    actual, actual_log_slope, back, *_ = everything(UNIT, params, jnp.asarray(x))["forward"]
    np.testing.assert_allclose(actual, y, rtol=0, atol=1e-10)
    np.testing.assert_allclose(actual_log_slope, log_slope, rtol=0, atol=1e-10)
    assert np.max(np.abs(back - x) * np.minimum(1, np.exp(log_slope))) < 1e-10


@pytest.mark.parametrize("scale", [1.0, 10.0, 30.0])
def test_knots_and_their_neighbours(scale: float, dtype: np.dtype):
    """Catches what is not finite or not inverse at knots, at the cut, and next to them."""
    params, rng = draw(scale, dtype), np.random.default_rng(1)
    for spline, low, high in ((CIRCULAR, -math.pi, math.pi), (UNIT, 0.0, 1.0)):
        slopes = np.zeros((BINS + 1, NUM))
        *_, knots = from_paper(np.asarray(params), slopes, np.full(NUM, low), low, high)
        knot = jnp.asarray(knots[np.arange(NUM), rng.integers(0, BINS + 1, NUM)], dtype)
        aside = jnp.asarray(rng.choice([low, 0.5 * low + 0.5 * high, high], size=NUM), dtype)
        value = jnp.nextafter(knot, aside)
        results = everything(spline, params, value)
        for result in jax.tree.leaves(results):
            assert jnp.all(jnp.isfinite(result))
        for result, log_slope, back, back_log_slope, *_ in results.values():
            # Next to a knot, slopes may change a lot between two neighbouring numbers.
            slope = jnp.exp(jnp.minimum(log_slope, -back_log_slope))
            size = jnp.finfo(dtype).eps * high * (2 + 2 / slope)
            assert np.all(turns(back - value) <= 4 * size)
            assert jnp.all((low <= result) & (result <= high))


@pytest.mark.parametrize("size", [1e3, 1e20, 1e30])
@pytest.mark.parametrize("spline", [CIRCULAR, UNIT])
def test_extreme_parameters(spline: CircularSpline | UnitSpline, size: float):
    """Catches a rotation or a slope that overflows, as a network emits it for an outlier."""
    value = jnp.asarray(np.random.default_rng(1).uniform(size=NUM), jnp.float32)
    results = everything(spline, size * jnp.sign(draw(1.0)), value)
    for result in jax.tree.leaves(results):
        assert jnp.all(jnp.isfinite(result))
    for result, *_ in results.values():
        assert jnp.all(jnp.abs(result) <= jnp.float32(math.pi))


def test_the_circle_closes(x64: None):
    """Catches a map or a slope that jumps at the cut, or anywhere else on the circle."""
    params = draw(1.0, jnp.float64)
    step = 1e-9
    for x in (-math.pi, 0.0, 1.0):
        ends = [everything(CIRCULAR, params, jnp.full(NUM, end)) for end in (x - step, x, x + step)]
        for name in ("forward", "inverse"):
            (before, log_before), (_, log_at), (after, log_after) = (e[name][:2] for e in ends)
            assert np.max(turns(after - before)) < 1e-5
            for log_slope in (log_before, log_after):
                np.testing.assert_allclose(log_slope, log_at, atol=1e-5)


def test_full_turns_change_nothing(x64: None):
    """Catches an angle of another convention, such as [0, 2π), that is mapped differently."""
    params = draw(1.0, jnp.float64)
    x = np.random.default_rng(1).uniform(-math.pi, math.pi, size=NUM)
    expected = everything(CIRCULAR, params, jnp.asarray(x))
    for shift in (2 * math.pi, -6 * math.pi):
        shifted = everything(CIRCULAR, params, jnp.asarray(x + shift))
        for name in ("forward", "inverse"):
            for i in (0, 1, 5):
                assert np.max(turns(shifted[name][i] - expected[name][i])) < 1e-8


def test_wrapping_is_exact(dtype: np.dtype):
    """Catches angles that leave [-π, π) by rounding, or that lose digits inside."""
    pi, rng = np.asarray(math.pi, dtype), np.random.default_rng(0)
    inside = np.asarray(rng.uniform(-math.pi, math.pi, 1000), dtype)
    tiny = np.asarray([-pi, np.nextafter(pi, 0 * pi), 1e-30, -1e-30, 0.0], dtype)
    for x in (inside, tiny):
        np.testing.assert_array_equal(wrap_angle(jnp.asarray(x)), x)
    aside = np.asarray([pi, np.nextafter(-pi, -4 * pi), np.nextafter(pi, 4 * pi)], dtype)
    far = np.asarray([7.0, -7.0, 1e10, -1e30, 3e38], dtype)
    for x in (aside, far):
        wrapped = np.asarray(wrap_angle(jnp.asarray(x)))
        assert np.all((-pi <= wrapped) & (wrapped < pi))
    np.testing.assert_array_equal(np.sign(wrap_angle(jnp.asarray(aside))), [-1.0, 1.0, -1.0])
    assert jnp.isnan(wrap_angle(jnp.asarray(np.inf)))


def test_rotation_reaches_every_angle():
    """Catches a cut that stays in its place: its image moves by the rotation, however large."""
    params = jnp.zeros((CIRCULAR.num_params, 4)).at[-1].set(jnp.asarray([1.0, 3.0, -3.0, 9.0]))
    y, log_slope = CIRCULAR.forward_and_log_det(params, jnp.full(4, 2.0))
    assert np.max(turns(y - jnp.asarray([3.0, 5.0, -1.0, 11.0]))) < 1e-5
    np.testing.assert_allclose(log_slope, 0.0, atol=1e-6)


def test_outside_the_unit_interval():
    """Catches a value without an image that is given a density, and a NaN that is lost."""
    value = jnp.tile(jnp.asarray([0.0, 1.0, -1e-6, 1.000001, jnp.inf, jnp.nan]), NUM // 6 + 1)[:NUM]
    for result, log_slope, *_, by_params, by_value in map(
        lambda results: (*results[:4], *results[4:6]), everything(UNIT, draw(1.0), value).values()
    ):
        missing = jnp.isnan(value)
        outside = ~((value >= 0) & (value <= 1)) & ~missing
        np.testing.assert_array_equal(jnp.isnan(result), missing)
        np.testing.assert_array_equal(jnp.isnan(log_slope), missing)
        np.testing.assert_array_equal(jnp.isneginf(log_slope), outside)
        np.testing.assert_array_equal(result[~missing], jnp.clip(value, 0, 1)[~missing])
        for gradient in (by_params, by_value):
            assert jnp.all(jnp.isfinite(gradient[..., ~missing]))


@pytest.mark.parametrize("spline", [CircularSpline, UnitSpline])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_bins": 1}, "num_bins is 1; expected at least 2"),
        ({"num_bins": 4, "min_bin": 0.25}, "min_bin is 0.25; expected.*0.25"),
        ({"min_slope": 1.0}, "min_slope is 1.0; expected"),
    ],
)
def test_mistakes_are_named(spline: type, settings: dict[str, float], message: str):
    """Catches a setting that makes the spline impossible."""
    with pytest.raises(ValueError, match=message):
        spline(**settings)


@pytest.mark.parametrize("spline", [CircularSpline(num_bins=2), UnitSpline(num_bins=2)])
def test_settings_count(spline: CircularSpline | UnitSpline):
    """Catches a setting that is accepted and ignored."""
    params, x = jnp.asarray([3.0, -3.0, 1.0, -2.0, 1.0, -3.0, 0.5]), jnp.asarray(0.3)
    y, _ = spline.forward_and_log_det(params, x)
    for name, other in (("min_bin", 0.3), ("min_slope", 0.5)):
        changed = type(spline)(num_bins=2, **{name: other})
        assert changed.forward_and_log_det(params, x)[0] != y, name
