"""Importance sampling: a conjugate posterior, evidence, resampling, and weights that are none."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array

import flowjax_lite as fl
from flowjax_lite.inference import ImportanceSamples, importance_sample

KEY = jax.random.key(0)
LIMIT = 5.0  # standard errors
LOG_EVIDENCE = 1.7


def log_target(x: Array) -> Array:
    """exp(1.7) times a normal density around 0.3 of deviation 0.8."""
    square = jnp.sum(((x - 0.3) / 0.8) ** 2)
    return LOG_EVIDENCE - 0.5 * square - x.size * (0.5 * math.log(2 * math.pi) + math.log(0.8))


@pytest.fixture(scope="module")
def flow() -> fl.Flow:
    """A standard normal."""
    return fl.Flow(fl.distributions.StandardNormal(2), fl.bijectors.Affine(2))


@pytest.fixture(scope="module")
def result(flow: fl.Flow) -> ImportanceSamples:
    """Of the target above."""
    return importance_sample(flow, log_target, 0, 4000)


def test_evidence_and_means_are_those_of_the_target(
    flow: fl.Flow, result: ImportanceSamples
) -> None:
    """Would catch a sign, or weights of logarithms; unweighted samples, the twin, are others'."""
    assert abs(result.log_evidence - LOG_EVIDENCE) < LIMIT * result.log_evidence_error
    assert 1e-3 < result.log_evidence_error < 0.05
    mean = np.average(result.samples, axis=0, weights=result.weights)
    error = LIMIT * 0.8 / math.sqrt(result.effective_sample_size)
    np.testing.assert_allclose(mean, 0.3, atol=error)
    assert np.all(np.abs(np.mean(result.samples, axis=0) - 0.3) > error)
    assert result.pareto_k < 0.7


def test_error_of_the_evidence_is_its_spread(flow: fl.Flow) -> None:
    """Would catch an error that is off by a root or a number of samples."""
    many = [importance_sample(flow, log_target, seed, 500) for seed in range(60)]
    spread = np.std([one.log_evidence for one in many])
    assert np.mean([one.log_evidence_error for one in many]) == pytest.approx(spread, rel=0.4)


def test_resampled_are_of_the_target(result: ImportanceSamples) -> None:
    """Would catch samples drawn by another weight, or in the order of those given."""
    again = np.asarray(result.resample(1, 2000))
    assert again.shape == (2000, 2)
    np.testing.assert_allclose(again.mean(axis=0), 0.3, atol=0.1)
    np.testing.assert_allclose(again.std(axis=0), 0.8, atol=0.1)
    np.testing.assert_array_equal(again, result.resample(1, 2000))
    assert not np.array_equal(again, result.resample(2, 2000))
    halves = again[:1000].mean(axis=0) - again[1000:].mean(axis=0)
    assert np.max(np.abs(halves)) < LIMIT * 0.8 * math.sqrt(2 / 1000)


def test_one_condition() -> None:
    """Would catch a condition that samples do not meet: the flow's own density has weights 1."""
    flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), condition_dim=1, rngs=nnx.Rngs(0))
    flow = randomised(flow)
    condition = jnp.array([0.7])
    result = importance_sample(flow, lambda x: flow.log_prob(x, condition), KEY, 50, condition)
    np.testing.assert_allclose(result.log_weights, 0, atol=1e-4)
    other = importance_sample(flow, lambda x: flow.log_prob(x, -condition), KEY, 50, condition)
    assert np.max(np.abs(other.log_weights)) > 0.1


def test_repr_says_what_to_do(result: ImportanceSamples) -> None:
    """Would catch a print of thousands of numbers."""
    text = repr(result)
    assert "4,000" in text and "reliable" in text and "1.7" in text and len(text) < 400
    assert "log evidence" in result._repr_html_()
    heavy = ImportanceSamples(result.samples, 3 * np.random.default_rng(0).exponential(size=4000))
    assert "not to be trusted" in repr(heavy)


@pytest.mark.parametrize(
    ("log_target", "num", "error", "message"),
    [
        (lambda x: jnp.nan * x[0], 30, ValueError, r"log_target is nan at 30 of 30.*x = \["),
        (lambda x: jnp.where(x[0] > 0, jnp.inf, 0.0), 30, ValueError, "log_target is inf"),
        (lambda x: -jnp.inf * jnp.abs(x[0]), 30, ValueError, "log_target is -inf at all 30"),
        (lambda x: -(x**2), 30, ValueError, "expected a scalar"),
        (log_target, 20, ValueError, "num is 20; expected .* at least 21"),
        (log_target, 2.5, TypeError, "num is 2.5"),
    ],
)
def test_weights_that_are_none_are_named(
    flow: fl.Flow,
    log_target: Callable[[Array], Any],
    num: Any,
    error: type[Exception],
    message: str,
) -> None:
    """Would catch an estimate that is made of NaN."""
    with pytest.raises(error, match=message):
        importance_sample(flow, log_target, KEY, num)
