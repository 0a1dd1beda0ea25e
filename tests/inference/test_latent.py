"""A density seen through a flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array

import flowjax_lite as fl

KEY = jax.random.key(0)


def test_the_density_of_the_flow_itself_is_its_base() -> None:
    """Would catch a log-determinant that is left out or has the wrong sign."""
    flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), condition_dim=1, rngs=nnx.Rngs(0))
    flow = randomised(flow)
    condition = jnp.array([0.7])
    z = jax.random.normal(KEY, (20, 2))
    log_p = fl.inference.latent_log_density(flow, lambda x: flow.log_prob(x, condition), condition)
    expected = jax.vmap(flow.base.log_prob)(z)
    np.testing.assert_allclose(jax.vmap(log_p)(z), expected, rtol=1e-4, atol=1e-4)


def test_bijector_alone_takes_constraints_away() -> None:
    """Would catch a bijector's map in the wrong direction: of an exponential, by hand."""
    log_p = fl.inference.latent_log_density(fl.bijectors.Exp((1,)), lambda x: -jnp.sum(x))
    z = jnp.linspace(-2.0, 2.0, 5)[:, None]
    np.testing.assert_allclose(jax.vmap(log_p)(z), (z - jnp.exp(z))[:, 0], rtol=1e-6)


def vector(x: Array) -> Array:
    """A log-density of every entry by itself."""
    return -(x**2)


def test_vectors_and_wrong_shapes_are_refused() -> None:
    """Would catch a target whose mistakes a sampler reports from its own inside, or not at all."""
    flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="expected a scalar"):
        fl.inference.latent_log_density(flow, vector)(jnp.zeros(2))
    with pytest.raises(ValueError, match=r"\(3,\)"):
        fl.inference.latent_log_density(flow, lambda x: -jnp.sum(x**2))(jnp.zeros(3))
    with pytest.raises(ValueError, match="condition"):
        fl.inference.latent_log_density(flow, vector, jnp.zeros(1))
