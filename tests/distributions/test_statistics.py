"""`initialize` and `observe`: what a flow takes from a batch as a whole."""

from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from battery.registry import coupling
from flax import nnx
from jax import Array

import flowjax_lite as fl
from flowjax_lite import bijectors as b
from flowjax_lite.conditioners import MLP
from flowjax_lite.distributions import StandardNormal, observe
from flowjax_lite.transformers import Affine

DIM, NUM_ROWS = 3, 200


def glow(**settings: object) -> fl.Flow:
    """A small flow with an ActNorm in each block."""
    return fl.flows.glow_1d(dim=DIM, num_layers=3, hidden=(8,), rngs=nnx.Rngs(0), **settings)


def with_batch_norm(condition_dim: int | None = None, **settings: float) -> fl.Flow:
    """A flow with a BatchNorm in each block."""

    def make_block(rngs: nnx.Rngs) -> b.Chain:
        layer = coupling(rngs, Affine(), MLP, condition_dim)
        return b.Chain([layer, b.BatchNorm(DIM, **settings), b.Reverse(DIM)])

    return fl.Flow(StandardNormal(DIM), b.Repeat(make_block, 2, rngs=nnx.Rngs(0)))


def rows() -> tuple[Array, Array]:
    """Data far from unit scale, and conditions."""
    x = np.random.default_rng(0).normal([5.0, -1.0, 300.0], [3.0, 0.01, 40.0], (NUM_ROWS, DIM))
    condition = np.random.default_rng(1).normal(7.0, 5.0, (NUM_ROWS, 2))
    return jnp.asarray(x), jnp.asarray(condition)


def same(first: fl.Flow, second: fl.Flow) -> bool:
    """Whether all arrays are equal."""
    leaves = map(jax.tree.leaves, (first, second))
    return all(jnp.array_equal(*pair) for pair in zip(*leaves, strict=True))


@pytest.mark.parametrize("make", [glow, with_batch_norm])
def test_a_new_flow_is_set_by_data(make):
    """Catches an initialisation that is lost on the way, or changes the flow it was given."""
    flow, (x, _) = make(), rows()
    before = jax.tree.map(jnp.copy, flow)
    new = fl.initialize(flow, x)
    assert same(flow, before)
    z = jax.jit(jax.vmap(new.bijector.inverse))(x)
    np.testing.assert_allclose(jnp.mean(z, 0), 0.0, atol=1e-3)
    np.testing.assert_allclose(jnp.std(z, 0), 1.0, rtol=0.1 if make is with_batch_norm else 1e-4)
    assert jnp.mean(new.log_prob(x)) > jnp.mean(flow.log_prob(x)) + 10


def test_conditions_are_those_of_the_rows():
    """Catches conditions that are not mapped, or shuffled apart from their rows."""
    x, condition = rows()
    flow = randomised(glow(condition_dim=2, condition_map=b.Standardize.from_data(condition)))
    new = fl.initialize(flow, x, condition)
    inside = jax.vmap(flow.condition_map.inverse)(condition)
    first = jax.tree.map(lambda leaf: leaf[-1], new.bijector.layers)  # next to the data
    chain, order = first.bijectors
    network, linear, norm = chain.bijectors
    z = jax.vmap(norm.inverse)(jax.vmap(order.inverse)(x))
    z = jax.vmap(network.inverse)(jax.vmap(linear.inverse)(z), inside)
    second = jax.tree.map(lambda leaf: leaf[-2], new.bijector.layers)
    chain, order = second.bijectors
    after = jax.vmap(chain.bijectors[-1].inverse)(jax.vmap(order.inverse)(z))
    np.testing.assert_allclose(jnp.mean(after, 0), 0.0, atol=1e-4)
    np.testing.assert_allclose(jnp.std(after, 0), 1.0, rtol=1e-4)
    one = fl.initialize(flow, x, condition[0])
    assert same(one, fl.initialize(flow, x, jnp.tile(condition[:1], (NUM_ROWS, 1))))
    assert not same(one, new)


def test_the_axes_of_a_batch_do_not_matter():
    """Catches leading axes that are taken for entries."""
    (x, _), flow = rows(), glow()
    folded = fl.initialize(flow, x.reshape(10, -1, DIM))
    assert same(folded, fl.initialize(flow, x))
    assert same(fl.initialize(flow, np.asarray(x, np.float64)), folded)


def test_initialize_inside_jit():
    """Catches values that are looked at while tracing."""
    (x, _), flow = rows(), glow()
    inside = jax.jit(lambda flow, x: fl.initialize(flow, x).log_prob(x))(flow, x)
    np.testing.assert_allclose(inside, fl.initialize(flow, x).log_prob(x), rtol=1e-4)


def test_a_flow_without_such_layers_comes_back():
    """Catches a flow that is rebuilt, or refused, for nothing."""
    flow = fl.flows.realnvp(dim=DIM, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
    assert fl.initialize(flow, rows()[0]) is flow
    assert observe(flow, rows()[0]) is flow
    assert same(observe(glow(), rows()[0]), glow())  # an ActNorm does not run


def test_what_was_initialised_is_saved(tmp_path: Path):
    """Catches statistics that a file forgets, or a new flow that no recipe describes."""
    new = fl.initialize(glow(data_map=b.Standardize(DIM, scale=3.0)), rows()[0])
    fl.save(tmp_path / "flow.safetensors", new)
    loaded = fl.load(tmp_path / "flow.safetensors")
    assert same(loaded, new)
    assert loaded.recipe == new.recipe


@pytest.mark.parametrize(
    ("x", "condition", "error", "message"),
    [
        (jnp.ones((5, 4)), None, ValueError, r"x has shape \(5, 4\); this flow expects \(..., 3\)"),
        (jnp.ones((5, 3), int), None, TypeError, "x has dtype int32.*astype"),
        (jnp.ones(3), None, ValueError, r"x has shape \(3,\); expected two events at least"),
        (jnp.ones((1, 3)), None, ValueError, r"x has shape \(1, 3\); expected two events"),
        (jnp.ones((5, 3)), jnp.ones((5, 2)), ValueError, "condition was given.*takes none"),
    ],
)
def test_mistakes_are_named(x: Array, condition: Array | None, error: type, message: str):
    """Catches statistics of the wrong rows."""
    with pytest.raises(error, match=message):
        fl.initialize(glow(), x, condition)


def test_conditions_are_checked():
    """Catches a missing or misaligned condition."""
    flow, (x, condition) = glow(condition_dim=2), rows()
    with pytest.raises(TypeError, match="condition is missing"):
        fl.initialize(flow, x)
    with pytest.raises(ValueError, match=r"leading axes \(200,\) and condition \(7,\)"):
        fl.initialize(flow, x, condition[:7])


def test_observing_moves_statistics():
    """Catches momentum on the wrong term, and a second layer that sees the batch as it came."""
    flow, (x, _) = with_batch_norm(momentum=0.75), rows()
    new = observe(flow, x)
    norms = new.bijector.layers.bijectors[1]
    mean, variance = np.zeros((2, DIM)), np.ones((2, DIM))
    batch = np.asarray(x, np.float64)
    for layer in (1, 0):  # the couplings are identities yet
        batch = batch[:, ::-1]
        mean[layer] = 0.25 * batch.mean(0)
        variance[layer] = 0.75 + 0.25 * batch.var(0)
        batch = (batch - mean[layer]) / np.sqrt(variance[layer] + 1e-5)
    np.testing.assert_allclose(norms.mean[...], mean, rtol=1e-4)
    np.testing.assert_allclose(norms.variance[...], variance, rtol=1e-4)


def test_padding_is_not_observed():
    """Catches rows of weight zero that move statistics, and weights that are not relative."""
    flow, (x, condition) = with_batch_norm(2), rows()
    weights = jnp.where(jnp.arange(NUM_ROWS) < 150, 1.0, 0.0)
    padded = x.at[150:].set(jnp.nan)
    got, expected = (
        observe(flow, padded, condition, weights),
        observe(flow, x[:150], condition[:150]),
    )
    chex.assert_trees_all_close(got, expected, rtol=1e-5)
    doubled = jnp.where(jnp.arange(NUM_ROWS) < 50, 2.0, weights)
    repeated = jnp.concatenate([jnp.arange(50), jnp.arange(150)])
    got, expected = (
        observe(flow, padded, condition, doubled),
        observe(flow, x[repeated], condition[repeated]),
    )
    chex.assert_trees_all_close(got, expected, rtol=1e-4)
