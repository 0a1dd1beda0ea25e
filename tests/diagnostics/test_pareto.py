"""Pareto-smoothed importance sampling: known shapes, another implementation, and bad weights."""

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from flowjax_lite.diagnostics import effective_sample_size, pareto_k, smooth_log_weights


def pareto_log_ratios(shape: float, num: int = 20_000) -> np.ndarray:
    """Logarithms of ratios whose exceedances have exactly this shape."""
    return shape * np.random.default_rng(1).exponential(size=num)


@pytest.mark.parametrize("shape", [0.1, 0.3, 0.5, 0.7, 1.0])
def test_known_shapes(shape: float) -> None:
    """Would catch a biased estimate; the twin, ratios of another shape, is outside the bounds."""
    # The standard error is (1 + k) over the root of 425, the length of the tail.
    error = 4 * (1 + shape) / np.sqrt(425)
    assert pareto_k(pareto_log_ratios(shape)) == pytest.approx(shape, abs=error)
    assert pareto_k(pareto_log_ratios(shape + 0.7)) != pytest.approx(shape, abs=error)


@pytest.mark.parametrize("num", [21, 100, 5000])
@pytest.mark.parametrize("kind", ["normal", "heavy", "narrow"])
def test_agrees_with_arviz(num: int, kind: str) -> None:
    """Would catch another tail, prior or quantile than the paper's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arviz = pytest.importorskip("arviz")
    rng = np.random.default_rng(num)
    log_weights = {
        "normal": rng.normal(size=num),
        "heavy": np.exp(rng.normal(size=num)),
        "narrow": 1e-3 * rng.normal(size=num),
    }[kind] + 3.0
    expected, shape = arviz.psislw(log_weights, normalize=False)
    assert pareto_k(log_weights) == pytest.approx(float(shape), abs=1e-7)
    np.testing.assert_allclose(smooth_log_weights(log_weights), expected, rtol=0, atol=1e-7)
    assert not np.allclose(log_weights, expected, rtol=0, atol=1e-7)  # something was smoothed


def test_offset_changes_nothing() -> None:
    """Would catch weights relative to anything but the largest; in float32, the twin, it shows."""
    log_weights = np.random.default_rng(0).normal(size=4000) * 0.3
    expected = pareto_k(log_weights)
    assert pareto_k(log_weights + 1e5) == pytest.approx(expected, abs=1e-6)
    assert pareto_k((log_weights + 1e5).astype(np.float32)) != pytest.approx(expected, abs=1e-3)
    smoothed = smooth_log_weights(log_weights + 1e5) - 1e5
    np.testing.assert_allclose(smoothed, smooth_log_weights(log_weights), atol=1e-8)
    assert effective_sample_size(log_weights - 1e5) == pytest.approx(
        effective_sample_size(log_weights)
    )


def test_smoothing_lowers_the_error() -> None:
    """Would catch a smoothed tail in another order or scale: the mean of heavy ratios is known."""
    rng = np.random.default_rng(0)
    shape, raw, smooth = 0.6, [], []
    for _ in range(200):
        log_weights = shape * rng.exponential(size=500)
        raw.append(np.mean(np.exp(log_weights)))
        smoothed = smooth_log_weights(log_weights)
        smooth.append(np.mean(np.exp(smoothed)))
    exact = 1 / (1 - shape)
    assert np.mean((np.array(smooth) - exact) ** 2) < 0.7 * np.mean((np.array(raw) - exact) ** 2)
    assert np.corrcoef(log_weights, smoothed)[0, 1] > 0.99


def test_weights_without_a_tail() -> None:
    """Would catch a flow that is its target, reported as useless, and few weights as good ones."""
    assert pareto_k(np.full(100, -3.0)) == -np.inf
    np.testing.assert_array_equal(smooth_log_weights(np.full(100, -3.0)), np.full(100, -3.0))
    few = np.full(1000, -np.inf)
    few[:3] = 0.0, -1.0, -2.0
    assert pareto_k(few) == np.inf
    np.testing.assert_array_equal(smooth_log_weights(few), few)


def test_effective_sample_size_by_hand() -> None:
    """Would catch a root or a normalisation; zero weights count for nothing."""
    weights = jnp.array([1.0, 2.0, 3.0, 0.0])
    assert effective_sample_size(jnp.log(weights)) == pytest.approx(36 / 14, rel=1e-6)
    assert effective_sample_size(np.zeros(7)) == 7.0


def test_zero_weights_are_weights() -> None:
    """Would catch -inf that is dropped, which changes the length of the tail, or becomes NaN."""
    log_weights = np.concatenate([pareto_log_ratios(0.5, 2000), np.full(2000, -np.inf)])
    assert pareto_k(log_weights) == pytest.approx(0.5, abs=0.4)
    smoothed = smooth_log_weights(log_weights)
    assert np.sum(smoothed == -np.inf) == 2000 and not np.any(np.isnan(smoothed))


@pytest.mark.parametrize(
    ("log_weights", "error", "message"),
    [
        (np.array([0.0] * 30 + [np.nan]), ValueError, r"1 of 31 log_weights are NaN or \+inf"),
        (np.array([0.0] * 30 + [np.inf] * 2), ValueError, r"2 of 32 log_weights"),
        (np.full(30, -np.inf), ValueError, "all 30 log_weights are -inf"),
        (np.zeros((3, 30)), ValueError, r"shape \(3, 30\)"),
        (np.zeros(20), ValueError, "20 entries.*at least 21"),
        (np.zeros(30, complex), TypeError, "complex"),
    ],
)
def test_bad_weights_are_named(log_weights: Any, error: type[Exception], message: str) -> None:
    """Would catch a number that is made of weights which are none."""
    for function in (pareto_k, smooth_log_weights):
        with pytest.raises(error, match=message):
            function(log_weights)
