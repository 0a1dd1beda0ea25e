"""Inpainting beside conditional normal distributions, and what it keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.bijectors import Identity, Whiten
from flowjax_lite.inference import inpaint

MEAN = np.array([1.0, -1.0, 0.5])
# Entries of different size, and known ones that say much about the others.
ROOT = np.array([[1.0, 0.0, 0.0], [0.9, 0.4, 0.0], [-20.0, 3.0, 5.0]])
COVARIANCE = ROOT @ ROOT.T
FLOW = fl.Flow(fl.distributions.StandardNormal(3), Whiten(MEAN, ROOT))
KNOWN = np.array([True, False, False])
NUM = 4000


def conditional(first: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the other entries, given the first."""
    gain = COVARIANCE[1:, 0] / COVARIANCE[0, 0]
    covariance = COVARIANCE[1:, 1:] - np.outer(gain, COVARIANCE[0, 1:])
    return MEAN[1:] + gain * (first - MEAN[0]), covariance


def errors(samples: np.ndarray, first: float) -> tuple[float, float]:
    """How far the mean and the covariance are off, in units of the conditional distribution."""
    mean, covariance = conditional(first)
    white = np.linalg.solve(np.linalg.cholesky(covariance), (samples[:, 1:] - mean).T)
    return float(np.abs(white.mean(1)).max()), float(np.abs(np.cov(white) - np.eye(2)).max())


def test_samples_are_those_of_the_conditional_distribution():
    """Catches a wrong ratio of acceptance; the twins are too short, and given other entries."""
    x = jnp.tile(jnp.array([2.0, jnp.nan, jnp.nan]), (NUM, 1))
    samples = np.asarray(inpaint(FLOW, x, KNOWN, 0, num_steps=400))
    np.testing.assert_array_equal(samples[:, 0], 2.0)
    of_mean, of_covariance = errors(samples, 2.0)
    assert of_mean < 0.08 and of_covariance < 0.1  # five and four standard errors
    assert max(errors(samples, 2.5)) > 0.3
    assert max(errors(np.asarray(inpaint(FLOW, x, KNOWN, 0, num_steps=4)), 2.0)) > 0.3


def test_each_row_has_its_own_known_entries_and_condition():
    """Catches masks, conditions and axes of a batch that are mixed up."""
    options = {"dim": 3, "condition_dim": 1, "num_layers": 2, "hidden": (4,)}
    flow = randomised(fl.flows.realnvp(**options, rngs=nnx.Rngs(0)))
    x = jax.random.normal(jax.random.key(1), (2, 1, 3))
    known = np.array([[True, False, True], [False, False, True], [True, True, True]])
    conditions = jnp.array([[0.5], [-1.0], [2.0]])
    got = inpaint(flow, x, known, 0, condition=conditions, num_steps=20)
    assert got.shape == (2, 3, 3)
    np.testing.assert_array_equal(got == x, np.broadcast_to(known, (2, 3, 3)))


def test_a_row_that_has_no_density_stays_alone():
    """Catches NaN that spreads from one event to others, and chains that accept it."""
    x = jnp.array([[2.0, 0.0, 0.0], [jnp.nan, 0.0, 0.0]])
    got = inpaint(FLOW, x, KNOWN, 0, num_steps=20)
    alone = inpaint(FLOW, x.at[1, 0].set(0.0), KNOWN, 0, num_steps=20)
    np.testing.assert_array_equal(got[0], alone[0])
    assert np.isnan(got[1, 0])


def test_where_the_density_is_flat():
    """Catches a division by gradients that are zero."""
    flow = fl.Flow(fl.distributions.Uniform(2, low=0.0, high=1.0), Identity(2))
    x = jnp.full((500, 2), 0.25)
    got = np.asarray(inpaint(flow, x, np.array([True, False]), 0, num_steps=200))[:, 1]
    assert np.all((got > 0) & (got < 1))
    np.testing.assert_allclose([got.mean(), got.var()], [1 / 2, 1 / 12], atol=0.05)


def test_levels_stay_whole():
    """Catches known levels that noise has moved, and levels that there are not."""
    base = fl.distributions.StandardNormal((2, 2, 1))
    mean, root = jnp.full((2, 2, 1), 2.0), jnp.full((2, 2, 1), 3.0)
    flow = fl.Flow(base, fl.bijectors.Affine.from_arrays(mean, root))
    model = fl.distributions.Dequantized(flow, num_levels=5)
    x = np.tile(np.arange(4, dtype=np.uint8).reshape(2, 2, 1), (200, 1, 1, 1))
    known = np.array([[True], [False]])[..., None] & np.ones((2, 2, 1), bool)
    got = np.asarray(inpaint(model, x, known, 0, num_steps=40))
    assert got.dtype == np.uint8 and set(np.unique(got[:, 1])) == set(range(5))
    np.testing.assert_array_equal(got[:, 0], x[:, 0])


def test_mistakes_are_named():
    """Catches a mask that is turned around, or of numbers, and chains without an end."""
    x = jnp.zeros(3)
    with pytest.raises(TypeError, match="known has dtype int32; expected booleans"):
        inpaint(FLOW, x, KNOWN.astype(int), 0)
    with pytest.raises(ValueError, match=r"known has shape \(2,\); expected \(..., 3\)"):
        inpaint(FLOW, x, KNOWN[:2], 0)
    with pytest.raises(ValueError, match="true everywhere"):
        inpaint(FLOW, x, np.ones(3, bool), 0)
    with pytest.raises(ValueError, match="num_steps is 1"):
        inpaint(FLOW, x, KNOWN, 0, num_steps=1)
    with pytest.raises(TypeError, match="model is a Whiten; expected a Flow"):
        inpaint(FLOW.bijector, x, KNOWN, 0)
