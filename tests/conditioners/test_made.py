"""Masked networks: who sees whom, at once and step by step."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array

from flowjax_lite.conditioners import MADE, AbstractCausal, ResidualMADE
from flowjax_lite.conditioners.masked import chunks

DIM, NUM_PARAMS = 6, 2  # six steps are two chunks
NETWORKS = (MADE, ResidualMADE)
# Degrees spread evenly or at random; layers wider and narrower than the event.
SHAPES = {"even": ((8, 8), None), "narrow": ((3, 3), None), "random": ((8, 8), 5)}
CASES = list(itertools.product(NETWORKS, SHAPES, (None, 2)))
every_case = pytest.mark.parametrize(("network", "shape", "condition_dim"), CASES)


def build(network: type, shape: str, condition_dim: int | None, dim: int = DIM) -> AbstractCausal:
    """A network whose every weight is random, also those that start at zero."""
    hidden, seed = SHAPES[shape]
    made = network(
        dim,
        num_params=NUM_PARAMS,
        hidden=hidden,
        condition_dim=condition_dim,
        activation="tanh",
        input_activation="arcsinh",
        degree_seed=seed,
        rngs=nnx.Rngs(0),
    )
    return randomised(made, scale=1.0)


def arguments(condition_dim: int | None, dim: int = DIM) -> tuple[Array, Array | None]:
    """An event, and a condition where one is taken."""
    x = jnp.linspace(-1, 1.3, dim)
    return x, None if condition_dim is None else jnp.linspace(0.3, 0.7, condition_dim)


@every_case
def test_no_output_sees_its_own_input(network: type, shape: str, condition_dim: int | None):
    """Catches a mask that is off by one in either layer, or none at all."""
    made = build(network, shape, condition_dim)
    jacobian = jax.jit(jax.jacrev(made))(*arguments(condition_dim))
    assert jacobian.shape == (NUM_PARAMS, DIM, DIM)
    np.testing.assert_array_equal(jacobian, jnp.tril(jacobian, -1))
    assert jnp.any(jacobian != 0)


@pytest.mark.parametrize("condition_dim", [None, 2])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_output_sees_all_inputs_before_it(network: type, condition_dim: int | None):
    """Catches a mask that hides too much, and a condition that misses the first output."""
    made = build(network, "even", condition_dim)
    x, condition = arguments(condition_dim)
    below = np.tril(np.ones((DIM, DIM), bool), -1)
    jacobian = jax.jit(jax.jacrev(made))(x, condition)
    assert jnp.all(jacobian[:, below] != 0)
    if condition_dim is not None:
        by_condition = jax.jit(jax.jacrev(made, argnums=1))(x, condition)
        assert jnp.all(by_condition != 0)


@every_case
def test_steps_give_what_one_pass_gives(
    network: type, shape: str, condition_dim: int | None, x64: None
):
    """Catches a unit computed before its last input is known, or never again after."""
    made = build(network, shape, condition_dim)
    x, condition = arguments(condition_dim)

    @jax.jit
    def by_steps(x: Array, condition: Array | None) -> Array:
        activations, columns = made.no_activations(), []
        for steps in chunks(DIM):
            entries = x[steps.start : steps.stop]
            fresh, blocks = made.begin(steps, x[: steps.start], activations, condition)
            for i in range(len(steps)):
                known = jnp.where(jnp.arange(len(steps)) < i, entries, 1e3)  # the rest is nonsense
                block = jax.tree.map(lambda stacked, i=i: stacked[i], blocks)
                fresh, params = made.step(fresh, known, block, activations)
                columns.append(params)
            activations = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), activations, fresh)
        return jnp.stack(columns, axis=1)

    at_once = made(x, condition)
    np.testing.assert_allclose(by_steps(x, condition), at_once, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dim", [1, 3, 4, 5, 63, 256])
def test_chunks_hold_every_step_once(dim: int):
    """Catches a step that is left out or taken twice, and a number of chunks that grows."""
    parts = chunks(dim)
    assert [step for steps in parts for step in steps] == list(range(dim))
    assert len(parts) <= 4


@pytest.mark.parametrize("network", NETWORKS)
def test_starts_at_zero(network: type):
    """Catches a flow that does not start as the identity."""
    made = network(DIM, num_params=NUM_PARAMS, hidden=(8,), condition_dim=2, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(made(*arguments(2)), jnp.zeros((NUM_PARAMS, DIM)))


@pytest.mark.parametrize("network", NETWORKS)
def test_one_dimension(network: type):
    """Catches a network that has no units left, or looks at its only input."""
    alone = build(network, "even", None, dim=1)
    x, condition = arguments(2, dim=1)
    np.testing.assert_array_equal(jax.jacrev(alone)(x), jnp.zeros((NUM_PARAMS, 1, 1)))
    conditional = build(network, "even", 2, dim=1)
    by_x, by_condition = jax.jit(jax.jacrev(conditional, argnums=(0, 1)))(x, condition)
    np.testing.assert_array_equal(by_x, jnp.zeros((NUM_PARAMS, 1, 1)))
    assert jnp.all(by_condition != 0)


@pytest.mark.parametrize("network", NETWORKS)
def test_degree_seed(network: type):
    """Catches random degrees that cannot be repeated, or that are not random."""
    seeded = [
        network(DIM, num_params=1, hidden=(9, 9), degree_seed=seed, rngs=nnx.Rngs(0))
        for seed in (5, 5, 6, None)
    ]
    first, same, other, even = (randomised(made)(arguments(None)[0]) for made in seeded)
    np.testing.assert_array_equal(first, same)
    assert jnp.any(first != other) and jnp.any(first != even) and jnp.any(other != even)


@pytest.mark.parametrize(
    ("network", "change", "error", "message"),
    [
        (MADE, {"dim": 0}, ValueError, "dim is 0"),
        (MADE, {"num_params": 0}, ValueError, "num_params is 0"),
        (MADE, {"hidden": 64}, ValueError, r"hidden is 64; expected a tuple.*\(64, 64\)"),
        (MADE, {"hidden": ()}, ValueError, r"hidden is \(\)"),
        (ResidualMADE, {"hidden": (8, 9)}, ValueError, r"hidden is \(8, 9\).*equal"),
        (MADE, {"hidden": (8, 0)}, ValueError, "a width in hidden is 0"),
        (MADE, {"condition_dim": 0}, ValueError, "condition_dim is 0"),
        (ResidualMADE, {"activation": "rely"}, ValueError, "activation is 'rely'.*'relu'"),
    ],
)
def test_mistakes_are_named(network: type, change: dict, error: type[Exception], message: str):
    """Catches a network without units, or without the activation that was asked for."""
    with pytest.raises(error, match=message):
        network(**{"dim": 3, "num_params": 2, "rngs": nnx.Rngs(0)} | change)
