"""A posterior that is known exactly, recovered by every way to learn one from its density."""

import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import flowjax_lite as fl
from flowjax_lite.inference import importance_sample, laplace

# A linear model y = A θ + noise with a standard normal prior has a normal posterior.
RNG = np.random.default_rng(0)
DESIGN = np.array([[1.0, 0.2], [1.0, 0.9], [1.0, 1.4]])
NOISE = 0.5
Y = DESIGN @ np.array([0.7, -0.4]) + NOISE * RNG.normal(size=3)
PRECISION = np.eye(2) + DESIGN.T @ DESIGN / NOISE**2
COVARIANCE = np.linalg.inv(PRECISION)
MEAN = COVARIANCE @ DESIGN.T @ Y / NOISE**2
MARGINAL = np.eye(3) * NOISE**2 + DESIGN @ DESIGN.T
LOG_EVIDENCE = float(
    -0.5 * (Y @ np.linalg.solve(MARGINAL, Y) + np.linalg.slogdet(2 * np.pi * MARGINAL)[1])
)
NUM = 1000
LIMIT = 5.0  # standard errors: a right posterior exceeds them once in a million


def log_joint(theta: Array, noise: float = NOISE) -> Array:
    """log p(y, θ), with all its constants."""
    residual = (Y - jnp.asarray(DESIGN, theta.dtype) @ theta) / noise
    size = jnp.sum(theta**2) + jnp.sum(residual**2) + 5 * math.log(2 * math.pi)
    return -0.5 * size - 3 * math.log(noise)


def worst(samples: Any, num: float) -> float:
    """By how many standard errors the moments of samples miss those of the posterior, at most."""
    z = (np.asarray(samples, np.float64) - MEAN) @ np.linalg.cholesky(PRECISION)
    second = z.T @ z / len(z) - np.eye(2)
    errors = np.sqrt(np.array([[2.0, 1.0], [1.0, 2.0]]) / num)
    return max(
        float(np.max(np.abs(z.mean(axis=0)))) * math.sqrt(num), np.max(np.abs(second) / errors)
    )


def learned(loss: Any) -> fl.Flow:
    """A normal flow, which begins as another normal."""
    flow = fl.Flow(fl.distributions.StandardNormal(2), fl.bijectors.Triangular(2))
    settings: dict[str, Any] = {"num_steps": 600, "learning_rate": 5e-2, "progress": False}
    return fl.fit_density(flow, loss, key=0, num_epochs=1, **settings).flow


TARGETS: dict[str, Any] = {
    "right": log_joint,
    "wrong": functools.partial(log_joint, noise=0.7 * NOISE),
}
LOSSES = {
    "reverse_kl": functools.partial(fl.reverse_kl, num_samples=128),
    "forward_kl": functools.partial(fl.forward_kl, num_samples=256),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_posterior_is_recovered(loss: str) -> None:
    """Would catch a loss or gradient that is off; the twin believes in less noise."""
    for name, target in TARGETS.items():
        flow = learned(LOSSES[loss](target))
        missed = worst(flow.sample(1, NUM), NUM)
        assert (missed < LIMIT) == (name == "right"), f"{name}: {missed:.1f} standard errors"


def test_start_is_the_posterior() -> None:
    """Would catch a mode or a curvature that is off."""
    for name, target in TARGETS.items():
        start = laplace(target, jnp.zeros(2))
        noise = np.random.default_rng(1).normal(size=(NUM, 2))
        samples = np.asarray(start.loc[...]) + noise @ np.asarray(start.tril[...]).T
        assert (worst(samples, NUM) < LIMIT) == (name == "right")


def test_posterior_is_recovered_by_weights() -> None:
    """Would catch weights of the wrong sign or direction: the proposal is the prior, far off."""
    prior = fl.Flow(fl.distributions.StandardNormal(2), fl.bijectors.Affine(2))
    for name, target in TARGETS.items():
        result = importance_sample(prior, target, 0, 20_000)
        missed = worst(result.resample(0, NUM), min(NUM, result.effective_sample_size))
        evidence = abs(result.log_evidence - LOG_EVIDENCE) / result.log_evidence_error
        assert (missed < LIMIT) == (name == "right"), f"{name}: {missed:.1f} standard errors"
        assert (evidence < LIMIT) == (name == "right"), f"{name}: {evidence:.1f} standard errors"
