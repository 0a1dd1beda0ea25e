"""Tweedie's formula beside the posterior mean of a normal distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.bijectors import Whiten
from flowjax_lite.inference import denoise

MEAN = np.array([1.0, -2.0])
COVARIANCE = np.array([[2.0, 0.9], [0.9, 0.5]])  # of the clean events
SCALE = np.array([0.3, 0.7])
X = jax.random.normal(jax.random.key(0), (4, 3, 2))


def noisy(scale: np.ndarray) -> fl.Flow:
    """The density of clean events with noise on them."""
    root = np.linalg.cholesky(COVARIANCE + np.diag(scale**2))
    return fl.Flow(fl.distributions.StandardNormal(2), Whiten(MEAN, root))


def test_it_is_the_posterior_mean():
    """Catches σ in the place of σ², and the wrong sign; the twin has the noise of another flow."""
    flow = noisy(SCALE)
    gain = COVARIANCE @ np.linalg.inv(COVARIANCE + np.diag(SCALE**2))
    expected = MEAN + (np.asarray(X) - MEAN) @ gain.T
    got = denoise(flow, X, noise_scale=SCALE)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    assert np.max(np.abs(denoise(flow, X, noise_scale=0.5 * SCALE) - expected)) > 0.1
    np.testing.assert_allclose(denoise(flow, X[0, 0], noise_scale=SCALE), got[0, 0], rtol=1e-5)


def test_conditions_broadcast():
    """Catches one event for several conditions, whose gradients would be added up."""
    options = {"dim": 2, "condition_dim": 1, "num_layers": 2, "hidden": (4,)}
    flow = randomised(fl.flows.realnvp(**options, rngs=nnx.Rngs(0)))
    conditions = jnp.array([[0.5], [-1.0], [2.0]])
    got = denoise(flow, X[0, 0], noise_scale=0.5, condition=conditions)
    assert got.shape == (3, 2)
    for row, condition in zip(got, conditions, strict=True):
        alone = denoise(flow, X[0, 0], noise_scale=0.5, condition=condition)
        np.testing.assert_allclose(row, alone, rtol=1e-5, atol=1e-6)


def test_mistakes_are_named():
    """Catches a scale that broadcasts by accident or is a variance's sign, and whole levels."""
    flow = noisy(SCALE)
    for scale in (np.ones(3), -1.0, 0.0, np.nan):
        with pytest.raises(ValueError, match="noise_scale is"):
            denoise(flow, X, noise_scale=scale)
    with pytest.raises(ValueError, match=r"x has shape \(3,\)"):
        denoise(flow, jnp.zeros(3), noise_scale=1.0)
    shape = {"image_shape": (2, 2, 1), "num_scales": 1, "num_layers": 1, "channels": 2}
    model = fl.distributions.Dequantized(fl.flows.glow(**shape, rngs=nnx.Rngs(0)))
    with pytest.raises(TypeError, match="flow is a Dequantized; expected a Flow"):
        denoise(model, jnp.zeros((2, 2, 1)), noise_scale=1.0)
