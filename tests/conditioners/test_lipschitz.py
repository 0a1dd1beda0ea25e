"""LipschitzMLP: the bound for any weights and inputs, and the activations that it rests on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array

from flowjax_lite.conditioners import LipschitzMLP
from flowjax_lite.conditioners.activations import ACTIVATIONS, LIPSCHITZ, lipswish

DIM = 4


def network(**settings: object) -> LipschitzMLP:
    """A network with two hidden layers, at its start."""
    options = {"hidden": (16, 12), "activation": "lipswish", "rngs": nnx.Rngs(0)}
    return LipschitzMLP(DIM, **options | settings)


def scaled(module: LipschitzMLP, scale: float) -> LipschitzMLP:
    """The network off its start, all parameters multiplied."""
    graph, params, rest = nnx.split(randomised(module), nnx.Param, ...)
    return nnx.merge(graph, jax.tree.map(lambda leaf: scale * leaf, params), rest)


@jax.jit
def stretch(module: LipschitzMLP, x: Array) -> Array:
    """How much the network stretches at most near each x."""
    jacobian = jax.vmap(jax.jacfwd(module.given()))(x)
    return jnp.max(jnp.linalg.svd(jacobian, compute_uv=False))


def points(count: int) -> Array:
    """Inputs near zero and far out."""
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(count, DIM)) * np.geomspace(1e-3, 1e3, count)[:, None])


@pytest.mark.parametrize("activation", LIPSCHITZ)
def test_the_constant_is_below_the_bound(x64: None, activation: str):
    """Catches a slope above one, a layer that is not bounded, and weights that are too strong."""
    module = network(activation=activation)
    for scale in (1.0, 100.0, 1e20):
        assert stretch(scaled(module, scale), points(500)) <= 0.9 * (1 + 1e-12)


def test_a_steeper_activation_is_noticed(x64: None):
    """The twin: catches points and weights that come nowhere near the bound."""

    def swish(x: Array) -> Array:
        return 3 * lipswish(x)

    module = network()
    module.activation = swish
    assert stretch(scaled(module, 100.0), points(500)) > 0.9


@pytest.mark.parametrize("coefficient", [0.1, 0.5, 0.99])
def test_the_bound_can_be_reached(x64: None, coefficient: float):
    """Catches a bound that is given away: too small a share for each layer, or one too many."""
    module = network(coefficient=coefficient, activation="relu", hidden=(DIM, DIM))
    for layer in [*module.layers, module.last]:
        layer.kernel[...] = 7 * jnp.eye(DIM)
    assert 0.98 * coefficient < stretch(module, points(20)) <= coefficient * (1 + 1e-12)


def test_weak_layers_are_left_alone(x64: None):
    """Catches weights that are stretched up to the bound: the network would not start at zero."""
    module = network(activation="relu", hidden=(DIM,))
    module.layers[0].kernel[...], module.last.kernel[...] = 0.5 * jnp.eye(DIM), 0.1 * jnp.eye(DIM)
    x = jnp.arange(1.0, DIM + 1)
    np.testing.assert_allclose(module(x), 0.05 * x, rtol=1e-12)
    np.testing.assert_array_equal(network()(x), 0.0)


@pytest.mark.parametrize("activation", LIPSCHITZ)
def test_slopes_are_within_one(x64: None, activation: str):
    """Catches an activation that does not belong on the list, such as swish with slopes to 1.1."""
    slopes = jax.vmap(jax.grad(ACTIVATIONS[activation]))(jnp.linspace(-20.0, 20.0, 40_001))
    assert 0.99 < jnp.max(jnp.abs(slopes)) <= 1


@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_sharpness(x64: None, activation: str):
    """Catches a sharpness that changes the slopes of an activation, and not where it bends."""
    module = network(activation=activation, hidden=(DIM,))
    module.layers[0].kernel[...] = module.last.kernel[...] = 0.5 * jnp.eye(DIM)
    module.sharpness[0][...] = jnp.arange(-1.0, DIM - 1)
    b = np.exp(3 * np.tanh(np.arange(-1.0, DIM - 1) / 3))
    x = jnp.asarray([0.3, -2.0, 1.0, 0.1])
    np.testing.assert_allclose(module(x), 0.5 * ACTIVATIONS[activation](0.5 * b * x) / b)


def test_the_condition_is_not_bounded(x64: None):
    """Catches a condition that counts for the bound, and so has little effect."""
    module = randomised(network(condition_dim=1, activation="relu"))
    module.condition_kernel[...] = jnp.full((1, 16), 1e3)
    near, far = (module(jnp.ones(DIM), jnp.asarray([c])) for c in (0.0, 1.0))
    assert jnp.max(jnp.abs(near - far)) > 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"coefficient": 1.0}, r"coefficient is 1\.0; expected a number between 0 and 1, such as"),
        ({"coefficient": 0.0}, r"coefficient is 0\.0"),
        ({"coefficient": float("nan")}, "coefficient is nan"),
        ({"activation": "silu"}, r"activation is 'silu'; expected one of 'relu', .*'lipswish'"),
        ({"activation": "gelu"}, "activation is 'gelu'"),
        ({"activation": jnp.sin}, r"activation is <.*sin.*; expected one of"),
        ({"hidden": ()}, r"hidden is \(\)"),
        ({"compute_dtype": "float16"}, "compute_dtype is 'float16'"),
    ],
)
def test_mistakes_are_named(settings: dict, message: str):
    """Catches a network that is built with no bound, or an activation that breaks it."""
    with pytest.raises(ValueError, match=message):
        network(**settings)


def test_an_activation_may_be_the_function_of_its_name():
    """Catches functions that are refused, though they are those on the list."""
    by_name, by_function = network(), network(activation=lipswish)
    assert nnx.graphdef(by_name) == nnx.graphdef(by_function)
