"""Guidance: the formula at every row, step by step, and in layers that are stacked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

from flowjax_lite.conditioners import MADE, AbstractCausal, CausalTransformer, Guided
from flowjax_lite.conditioners.masked import chunks

ROWS, WEIGHT = 6, 1.5
CONDITION = jnp.array([0.3, -1.0])


def network(name: str) -> AbstractCausal:
    """A small one with random weights."""
    options = {"num_params": 2, "condition_dim": 2, "rngs": nnx.Rngs(0)}
    if name == "MADE":
        return randomised(MADE(ROWS, hidden=(12, 12), activation="tanh", **options))
    return randomised(CausalTransformer((ROWS, 3), width=4, num_layers=1, num_heads=2, **options))


def rows(of: AbstractCausal) -> jax.Array:
    """Random input of it."""
    return jax.random.normal(jax.random.key(0), of.in_shape)


@pytest.mark.parametrize("name", ["MADE", "CausalTransformer"])
def test_parameters_lead_away_from_those_without_a_condition(name: str):
    """Catches a weight that does not grow with the row, from nothing at the first to all."""
    plain = network(name)
    x = rows(plain)
    call = jax.jit(lambda network, condition: network(x, condition))
    given, without = (np.asarray(call(plain, c)) for c in (CONDITION, jnp.zeros(2)))
    got = np.asarray(call(Guided(plain, WEIGHT), CONDITION))
    assert got.shape == given.shape
    for i in range(ROWS):
        expected = given[:, i] + WEIGHT * i / (ROWS - 1) * (given[:, i] - without[:, i])
        np.testing.assert_allclose(got[:, i], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(call(Guided(plain, 0.0), CONDITION), given, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["MADE", "CausalTransformer"])
def test_steps_give_what_one_pass_gives(name: str, x64: None):
    """Catches branches that read each other's activations, and weights of another chunk."""
    guided = Guided(network(name), WEIGHT)

    @jax.jit
    def by_steps(x: jax.Array) -> jax.Array:
        activations, columns = guided.no_activations(), []
        for steps in chunks(ROWS):
            fresh, blocks = guided.begin(steps, x[: steps.start], activations, CONDITION)
            for i in range(len(steps)):
                block = jax.tree.map(lambda stacked, i=i: stacked[i], blocks)
                part = x[steps.start : steps.stop]
                fresh, params = guided.step(fresh, part, block, activations)
                columns.append(params.reshape(2, *x.shape[1:]))
            activations = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), activations, fresh)
        return jnp.stack(columns, axis=1)

    x = rows(guided)
    assert len(chunks(ROWS)) > 1
    np.testing.assert_allclose(by_steps(x), jax.jit(guided)(x, CONDITION), rtol=1e-9)


def test_mistakes_are_named():
    """Catches a network that has nothing to be guided by, and weights that broadcast."""
    plain = MADE(3, num_params=2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"MADE takes no condition.*build it with condition_dim"):
        Guided(plain, 1.0)
    for weight in (jnp.ones(3), float("nan")):
        with pytest.raises(ValueError, match="expected one finite number"):
            Guided(network("MADE"), weight)
