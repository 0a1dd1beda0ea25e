"""ActNorm and BatchNorm: their maps, and the layers that a batch makes of them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from battery.registry import coupling
from flax import nnx
from jax import Array

from flowjax_lite import bijectors as b
from flowjax_lite.bijectors.normalization import moments
from flowjax_lite.conditioners import MLP
from flowjax_lite.core.pytree import holds
from flowjax_lite.transformers import Affine

DIM, NUM_ROWS = 3, 500


def initialized(
    layer: b.AbstractBijector, batch: Array, weights: Array, forward: bool
) -> b.AbstractBijector:
    """What `initialize` asks of a layer."""
    return layer.initialized(batch, weights, forward=forward)


@jax.jit
def renewed(
    bijector: b.AbstractBijector, batch: Array, condition: Array | None, weights: Array
) -> tuple[b.AbstractBijector, Array]:
    """The bijector that `initialize` makes, and the batch as it leaves that."""
    return bijector.renewed(initialized, batch, condition, weights)


def rows(scale: float = 1.0, loc: float = 0.0) -> Array:
    """A batch of numbers."""
    values = np.random.default_rng(0).normal(size=(NUM_ROWS, DIM))
    return jnp.asarray(scale * (values + loc))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("loc", [0.0, -30.0])
def test_actnorm_standardises_any_scale(dtype: np.dtype, scale: float, loc: float):
    """Catches a bound on the scale, sums that cancel, and an epsilon beside a small variance."""
    batch = rows(scale, loc)
    layer = b.ActNorm(DIM).initialized(batch, jnp.ones(NUM_ROWS), forward=False)
    x, log_det = jax.vmap(layer.inverse_and_log_det)(batch)
    wide = np.asarray(x, np.float64)
    unit = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(wide.mean(0), 0.0, atol=unit)
    np.testing.assert_allclose(wide.std(0), 1.0, rtol=unit)
    np.testing.assert_allclose(log_det, -np.log(np.std(batch, 0)).sum(), rtol=10 * unit)
    back = jax.vmap(layer.forward)(x)
    np.testing.assert_allclose(back, batch, rtol=0, atol=unit * scale * (1 + abs(loc)))


def test_actnorm_starts_in_units_of_one():
    """Catches parameters in the units of the data, for which no learning rate fits."""
    layer = randomised(b.ActNorm(DIM)).initialized(rows(1e6), jnp.ones(NUM_ROWS), forward=False)
    assert all(jnp.all(leaf == 0) for leaf in jax.tree.leaves(nnx.state(layer, nnx.Param)))
    for y, log_det in (b.ActNorm(2).forward_and_log_det(jnp.array([3.0, -1.0])),):
        np.testing.assert_array_equal(y, [3.0, -1.0])
        assert log_det == 0


@pytest.mark.parametrize("constant", [0.0, 0.1, -123456.789])
def test_actnorm_leaves_the_scale_of_a_constant_entry(dtype: np.dtype, constant: float):
    """Catches rounding errors of a constant that are blown up to size one."""
    batch = rows().at[:, 1].set(constant)
    layer = b.ActNorm(DIM).initialized(batch, jnp.ones(NUM_ROWS), forward=False)
    np.testing.assert_array_equal(layer.scale[...] == 1, [False, True, False])
    x = jax.vmap(layer.inverse)(batch)
    np.testing.assert_allclose(x[:, 1], 0.0, atol=1e-6 * (1 + abs(constant)))


@pytest.mark.parametrize("kind", [b.ActNorm, b.BatchNorm])
def test_a_new_layer_leaves_the_old_one_alone(kind: type):
    """Catches a layer that is changed in place, and one that compiles again."""
    layer = randomised(kind(DIM))
    before = jax.tree.map(jnp.copy, layer)
    new = layer.initialized(rows(3.0), jnp.ones(NUM_ROWS), forward=False)
    chex.assert_trees_all_equal(layer, before)
    assert jax.tree.structure(new) == jax.tree.structure(layer)
    assert nnx.graphdef(new) == nnx.graphdef(layer)


def test_batchnorm_is_the_formula(x64: None):
    """Catches ε outside the root, the wrong side, a sign of the log-determinant."""
    layer = b.BatchNorm(DIM, epsilon=0.1)
    layer.mean[...], layer.variance[...] = jnp.array([1.0, 2.0, 3.0]), jnp.array([0.0, 1.0, 4.0])
    x, log_det = layer.inverse_and_log_det(jnp.array([2.0, 2.0, 1.0]))
    np.testing.assert_allclose(x, np.array([1.0, 0.0, -2.0]) / np.sqrt([0.1, 1.1, 4.1]))
    np.testing.assert_allclose(log_det, -0.5 * np.sum(np.log([0.1, 1.1, 4.1])))
    assert jax.tree.leaves(nnx.state(layer, nnx.Param)) == []


def test_moments_are_weighted(x64: None):
    """Catches rows of weight zero that count, whatever they hold, and also in gradients."""
    weights = np.random.default_rng(1).uniform(size=NUM_ROWS)
    weights[7] = 0.0
    batch = np.asarray(rows(2.0, 5.0))
    mean = np.average(batch, axis=0, weights=weights)
    variance = np.average((batch - mean) ** 2, axis=0, weights=weights)
    poisoned = jnp.asarray(batch).at[7].set(jnp.nan)
    for values in (batch, poisoned):
        got = moments(jnp.asarray(values), jnp.asarray(weights))
        np.testing.assert_allclose(got[0], mean, rtol=1e-12)
        np.testing.assert_allclose(got[1], variance, rtol=1e-12)
    gradient = jax.grad(lambda x: jnp.sum(moments(x, jnp.asarray(weights))[1]))(poisoned)
    expected = 2 * (weights / weights.sum())[:, None] * (batch - mean)
    np.testing.assert_allclose(gradient, expected, atol=1e-12)


def make_block(rngs: nnx.Rngs) -> b.Chain:
    """A block with a conditional network off its identity, and a normalisation."""
    layer = randomised(coupling(rngs, Affine(), MLP, 2))
    return b.Chain([layer, b.Triangular(DIM), b.ActNorm(DIM), b.Permutation.random(DIM, rngs=rngs)])


def bijectors() -> dict[str, b.AbstractBijector]:
    """Compositions in which each part meets a batch in another way."""
    rngs = nnx.Rngs(0)
    repeats = {
        f"Repeat, {gradient}": b.Repeat(make_block, 3, gradient=gradient, rngs=rngs)
        for gradient in b.GRADIENTS
    }
    chain = b.Chain([b.LU(DIM), make_block(rngs), b.Sigmoid(DIM)])
    inverted = b.Chain([make_block(rngs), b.Invert(make_block(rngs)), b.LU(DIM)])
    twice = b.Invert(b.Invert(make_block(rngs)))
    return {**repeats, "Chain": chain, "Invert": inverted, "Invert twice": twice}


@pytest.mark.parametrize("name", bijectors())
def test_the_batch_is_the_one_that_the_new_layers_make(name: str):
    """Catches a batch that goes on through the old layers, in the wrong order or direction."""
    bijector = bijectors()[name]
    batch, condition = rows(), jax.random.normal(jax.random.key(1), (NUM_ROWS, 2))
    if name == "Chain":
        batch = jax.nn.sigmoid(3 * batch)

    new, z = renewed(bijector, batch, condition, jnp.ones(NUM_ROWS))
    assert jax.tree.structure(new) == jax.tree.structure(bijector)
    expected = jax.jit(jax.vmap(new.inverse))(batch, condition)
    np.testing.assert_allclose(z, expected, atol=2e-5)
    unchanged = jax.jit(jax.vmap(bijector.inverse))(batch, condition)
    assert jnp.max(jnp.abs(z - unchanged)) > 0.1


def test_every_layer_of_a_deep_stack_is_normalised():
    """Catches statistics of the first layer given to all, or of what entered the stack."""
    batch, condition = rows(100.0, 3.0), jax.random.normal(jax.random.key(1), (NUM_ROWS, 2))
    repeat = b.Repeat(make_block, 3, rngs=nnx.Rngs(0))
    new, _ = renewed(repeat, batch, condition, jnp.ones(NUM_ROWS))
    for layer in reversed(new):
        network, triangular, norm, order = layer
        after = jax.vmap(lambda y, n=norm, o=order: n.inverse(o.inverse(y)))(batch)
        np.testing.assert_allclose(jnp.mean(after, 0), 0.0, atol=2e-5)
        np.testing.assert_allclose(jnp.std(after, 0), 1.0, rtol=2e-5)
        batch = jax.vmap(network.inverse)(jax.vmap(triangular.inverse)(after), condition)


def test_an_inverted_actnorm_is_set_by_what_leaves_it():
    """Catches statistics of the side that the batch comes from, used the wrong way round."""
    inverted = b.Invert(b.ActNorm(DIM))
    new, z = renewed(inverted, rows(50.0, 3.0), None, jnp.ones(NUM_ROWS))
    np.testing.assert_allclose(jnp.mean(z, 0), 0.0, atol=1e-5)
    np.testing.assert_allclose(jnp.std(z, 0), 1.0, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(new.forward)(z), rows(50.0, 3.0), rtol=1e-4)


def test_channelwise_pools_positions():
    """Catches statistics for each position, or weights that belong to other rows."""
    images = jax.random.normal(jax.random.key(0), (6, 2, 5, DIM)) * 3 + 1
    weights = jnp.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    channelwise = b.Channelwise(b.ActNorm(DIM), (2, 5))
    new, z = renewed(channelwise, images, None, weights)
    counted = np.asarray(z[weights > 0]).reshape(-1, DIM)
    np.testing.assert_allclose(counted.mean(0), 0.0, atol=1e-6)
    np.testing.assert_allclose(counted.std(0), 1.0, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(new.inverse))(images), z, atol=1e-6)


def test_channelwise_repeats_conditions():
    """Catches conditions that reach the positions of other rows."""
    channelwise = b.Channelwise(
        b.Chain([randomised(coupling(nnx.Rngs(0), Affine(), MLP, 2)), b.ActNorm(DIM)]), [4]
    )
    images, condition = jax.random.normal(jax.random.key(0), (6, 4, DIM)), jnp.arange(12.0)
    condition = condition.reshape(6, 2)
    new, z = renewed(channelwise, images, condition, jnp.ones(6))
    np.testing.assert_allclose(jax.jit(jax.vmap(new.inverse))(images, condition), z, atol=1e-5)


def test_what_a_batch_cannot_enter_is_named():
    """Catches a normalising layer that is passed over without a word."""

    class Wrapped(b.AbstractBijector):
        """A composition that nobody knows."""

        def __init__(self) -> None:
            self.inner = b.ActNorm(DIM)
            self.event_shape, self.condition_shape = (DIM,), None

        def forward_and_log_det(self, x, condition=None, key=None):
            return self.inner.forward_and_log_det(x)

        def inverse_and_log_det(self, y, condition=None, key=None):
            return self.inner.inverse_and_log_det(y)

    assert holds(b.Chain([Wrapped()]), b.ActNorm) and not holds(Wrapped(), b.BatchNorm)
    with pytest.raises(TypeError, match=r"Wrapped holds a normalising layer.*into a Chain"):
        renewed(b.Chain([Wrapped()]), rows(), None, jnp.ones(NUM_ROWS))
    with pytest.raises(ValueError, match="BatchNorm inside Invert"):
        renewed(b.Invert(b.BatchNorm(DIM)), rows(), None, jnp.ones(NUM_ROWS))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"momentum": 1.0}, r"momentum is 1.0; expected a number in \[0, 1\)"),
        ({"momentum": -0.1}, "momentum is -0.1"),
        ({"epsilon": 0.0}, "epsilon is 0.0; expected a positive number"),
        ({"epsilon": float("nan")}, "epsilon is nan"),
    ],
)
def test_mistakes_are_named(settings: dict, message: str):
    """Catches statistics that never move, and a division by zero."""
    with pytest.raises(ValueError, match=message):
        b.BatchNorm(DIM, **settings)
