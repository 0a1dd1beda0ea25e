"""Dense networks: their shapes, their start and their condition; activations by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from helpers.gradients import numbers_kept

from flowjax_lite.conditioners import ACTIVATIONS, MLP, ResidualMLP, get_activation
from flowjax_lite.core.recipe import unrecorded

NETWORKS = (MLP, ResidualMLP)
every_network = pytest.mark.parametrize("network", NETWORKS)


@every_network
def test_starts_at_zero_with_the_shape_asked_for(network: type):
    """Catches a flow that does not start as the identity, and outputs in another order."""
    mlp = network(2, out_shape=(3, 4), hidden=(8, 8), rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(mlp(jnp.ones(2)), jnp.zeros((3, 4)))


@every_network
def test_every_output_depends_on_every_input(network: type):
    """Catches a network that ignores an input or repeats an output."""
    mlp = randomised(
        network(2, out_shape=(3, 4), hidden=(8,), condition_dim=2, rngs=nnx.Rngs(0)), scale=1.0
    )
    by_x, by_condition = jax.jit(jax.jacrev(mlp, argnums=(0, 1)))(jnp.ones(2), jnp.zeros(2))
    assert by_x.shape == by_condition.shape == (3, 4, 2)
    assert jnp.all(by_x != 0) and jnp.all(by_condition != 0)
    assert len(np.unique(by_x)) == by_x.size


@every_network
def test_without_an_input_the_condition_remains(network: type):
    """Catches a coupling layer of one entry that cannot be built, or ignores the condition."""
    conditional = network(0, out_shape=(2, 1), hidden=(8,), condition_dim=2, rngs=nnx.Rngs(0))
    conditional = randomised(conditional, scale=1.0)
    assert jnp.all(jax.jacrev(conditional, argnums=1)(jnp.zeros(0), jnp.ones(2)) != 0)
    constant = randomised(network(0, out_shape=(2, 1), hidden=(8,), rngs=nnx.Rngs(0)))
    assert jnp.all(constant(jnp.zeros(0)) != 0)


def test_the_condition_enters_every_block():
    """Catches a residual network that shows the condition to its first layer alone."""
    mlp = randomised(
        ResidualMLP(2, out_shape=(1, 1), hidden=(8, 8), condition_dim=3, rngs=nnx.Rngs(0))
    )
    for block in range(2):
        blind = jax.tree.map(lambda leaf: leaf, mlp)  # a copy
        for layer in (blind.first, blind.inner[1 - block]):
            kernel = layer.kernel[...]
            layer.kernel[...] = kernel.at[-3:].set(0.0)
        by_condition = jax.jacrev(blind, argnums=1)(jnp.ones(2), jnp.zeros(3))
        assert jnp.all(by_condition != 0), f"block {block}"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_name(name: str):
    """Catches a name that stands for another function, or that is not passed on."""
    function = get_activation(name)
    x = jnp.linspace(-3.0, 3.0, 7)
    elsewhere = {"lipswish": nnx.swish(x) / 1.1, "arcsinh": np.arcsinh(x)}
    expected = elsewhere[name] if name in elsewhere else getattr(jax.nn, name)(x)
    np.testing.assert_allclose(function(x), expected, rtol=1e-6)
    by_name, by_function, as_applied = (
        MLP(2, out_shape=(1, 1), hidden=(4,), activation=activation, rngs=nnx.Rngs(0))
        for activation in (name, ACTIVATIONS[name], function)
    )
    assert nnx.graphdef(by_name) == nnx.graphdef(by_function)
    assert by_name.activation == as_applied.activation
    assert not list(unrecorded(as_applied.recipe))  # so that files hold it
    random = randomised(by_name, scale=1.0)
    hidden = function(random.layers[0](jnp.ones(2)))
    np.testing.assert_allclose(random(jnp.ones(2)), random.last(hidden).reshape(1, 1), rtol=1e-6)


@pytest.mark.parametrize("name", ["elu", "gelu", "silu", "softplus", "lipswish", "arcsinh"])
def test_a_gradient_keeps_one_number_for_each_unit(name: str):
    """Catches activations whose derivative by jax's formulas fills the memory of a step."""
    x = jnp.ones(1000)
    assert numbers_kept(get_activation(name), x) == x.size
    assert numbers_kept(ACTIVATIONS[name], x) > x.size  # the twin, as jax differentiates it


@pytest.mark.parametrize(
    ("network", "change", "message"),
    [
        (MLP, {"in_dim": -1}, "in_dim is -1"),
        (MLP, {"hidden": ()}, r"hidden is \(\)"),
        (ResidualMLP, {"hidden": (8, 9)}, r"hidden is \(8, 9\).*equal"),
        (ResidualMLP, {"condition_dim": 0}, "condition_dim is 0"),
        (MLP, {"activation": "rely"}, "activation is 'rely'.*'relu'"),
    ],
)
def test_mistakes_are_named(network: type, change: dict, message: str):
    """Catches a network without units, or without the activation that was asked for."""
    with pytest.raises(ValueError, match=message):
        network(**{"in_dim": 2, "out_shape": (2, 1), "rngs": nnx.Rngs(0)} | change)
