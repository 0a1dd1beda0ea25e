"""Interpolation along arcs of the latent space."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.inference import interpolate

FLOW = randomised(
    fl.flows.realnvp(dim=3, condition_dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
)
CONDITION = jnp.array([0.3, -1.0])


def test_an_arc_keeps_lengths_and_steps():
    """Catches ends that are not reached, a straight line, and steps that are not equal."""
    x = jax.random.normal(jax.random.key(1), (2, 3))
    path = interpolate(FLOW, *x, 9, condition=CONDITION)
    np.testing.assert_allclose(path[jnp.array([0, -1])], x, atol=1e-4)
    z, _ = FLOW.to_latent(path, CONDITION)
    unit = np.asarray(z / jnp.linalg.norm(z, axis=1, keepdims=True))
    angles = np.arccos(np.sum(unit[1:] * unit[:-1], axis=1))
    np.testing.assert_allclose(angles, angles[0], rtol=1e-2)
    lengths = np.linalg.norm(z, axis=1)
    np.testing.assert_allclose(lengths, np.linspace(*lengths[[0, -1]], 9), rtol=1e-3)


def test_latents_on_one_line():
    """Catches a division by a sine of zero."""
    flow = fl.Flow(fl.distributions.StandardNormal(2), fl.bijectors.Identity(2))
    x = jnp.array([1.0, 1.0])
    np.testing.assert_allclose(interpolate(flow, x, x, 3), jnp.ones((3, 2)), atol=1e-5)
    path = interpolate(flow, x, -x, 3)
    np.testing.assert_allclose(path, [[1.0, 1.0], [0.0, 0.0], [-1.0, -1.0]], atol=1e-3)


def test_mistakes_are_named():
    """Catches an event alone, between which there is nothing."""
    with pytest.raises(ValueError, match="num is 1"):
        interpolate(FLOW, jnp.ones(3), jnp.ones(3), 1, condition=CONDITION)
