"""What networks see of their inputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

from flowjax_lite.conditioners import MADE, MLP, ResidualMADE, ResidualMLP
from flowjax_lite.conditioners.activations import arcsinh
from flowjax_lite.core.recipe import build, from_json, recipe_of, to_json

DIM = 3
NETWORKS = {
    "MLP": functools.partial(MLP, DIM, out_shape=(2, DIM)),
    "ResidualMLP": functools.partial(ResidualMLP, DIM, out_shape=(2, DIM)),
    "MADE": functools.partial(MADE, DIM, num_params=2),
    "ResidualMADE": functools.partial(ResidualMADE, DIM, num_params=2),
}
every_network = pytest.mark.parametrize("name", NETWORKS)
X = jnp.array([0.3, -40.0, 1e6])
CONDITION = jnp.array([-0.4, 0.6])


def network(name: str, **settings):
    """A network with random weights."""
    options = {"hidden": (8, 8), "condition_dim": 2, "activation": "tanh", **settings}
    return randomised(NETWORKS[name](**options, rngs=nnx.Rngs(0)), scale=1.0)


@every_network
def test_inputs_go_through_it_first(name: str):
    """Catches an input that is seen as it is, and a condition that is not."""
    plain, mapped = network(name), network(name, input_activation="arcsinh")
    expected = plain(jnp.arcsinh(X), CONDITION)
    np.testing.assert_allclose(mapped(X, CONDITION), expected, rtol=1e-5, atol=1e-5)
    assert jnp.any(mapped(X, CONDITION) != plain(X, CONDITION))


def test_arcsinh_and_its_slope():
    """Catches an overflow far out, and a slope at 0 that is lost to a choice of sign."""
    x = jnp.array([0.0, 1e-6, 0.1, -3.0, 1e6, -1e15])
    np.testing.assert_allclose(arcsinh(x), np.arcsinh(x), rtol=1e-6, atol=2e-7)
    slopes = jax.vmap(jax.grad(arcsinh))(x)
    np.testing.assert_allclose(slopes, 1 / np.sqrt(1 + np.float64(x) ** 2), rtol=1e-5)
    far = jnp.array([1e25, jnp.inf, -jnp.inf])
    np.testing.assert_allclose(arcsinh(far), np.log(2e18) * np.sign(far), rtol=1e-6)
    assert jnp.isnan(arcsinh(jnp.nan))


@every_network
def test_a_million_moves_parameters_as_a_dozen_does(name: str):
    """Catches inputs that are not compressed: a network of straight pieces grows as they do."""
    mapped = network(name, activation="relu", input_activation="arcsinh")
    near, far = (jnp.abs(mapped(x, CONDITION)).max() for x in (jnp.ones(DIM), 1e6 * jnp.ones(DIM)))
    assert far < 30 * near
    plain = network(name, activation="relu")
    assert jnp.abs(plain(1e6 * jnp.ones(DIM), CONDITION)).max() > 1e3 * near


@every_network
def test_a_file_from_before_is_a_network_that_sees_inputs_as_they_are(name: str):
    """Catches a network of an older file that is loaded, and is another function."""
    recipe = recipe_of(network(name))
    text = to_json(recipe).replace('"input_activation": "identity", ', "")
    assert text != to_json(recipe)
    assert from_json(text) == recipe
    assert build(from_json(text), nnx.Rngs(0)).input_activation is jax.nn.identity
