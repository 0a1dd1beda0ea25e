"""Copies of flows: equal values, and nothing compiles anew."""

import copy
import pickle
from collections.abc import Callable

import chex
import cloudpickle
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import flowjax_lite as fl

COPIES: dict[str, Callable[[fl.Flow], fl.Flow]] = {
    "pickle": lambda flow: pickle.loads(pickle.dumps(flow)),
    "cloudpickle": lambda flow: pickle.loads(cloudpickle.dumps(flow)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@pytest.fixture(scope="module")
def flow() -> fl.Flow:
    """With an activation that JAX has compiled, and one without a name of ours."""
    settings = {"dim": 2, "num_layers": 2, "hidden": (4,)}
    inner = fl.flows.maf(**settings, activation="silu", rngs=nnx.Rngs(0))
    outer = fl.flows.realnvp(**settings, activation=jax.nn.selu, rngs=nnx.Rngs(1))
    return fl.Flow(inner.base, fl.bijectors.Chain([inner.bijector, outer.bijector]))


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_equal_and_compiles_nothing(name: str, flow: fl.Flow, compiled: list[str]):
    """Catches copies of functions, with which each copy of a flow is another one to `jit`."""
    x = jnp.ones((3, 2))
    log_prob = flow.log_prob(x)
    made = COPIES[name](flow)
    assert made is not flow and nnx.graphdef(made) == nnx.graphdef(flow)
    chex.assert_trees_all_equal(made, flow)
    before = len(compiled)
    chex.assert_trees_all_equal(made.log_prob(x), log_prob)
    assert len(compiled) == before


def test_a_deep_copy_shares_no_array(flow: fl.Flow):
    """Catches a copy whose arrays a training step, which reuses memory, takes away."""
    copied = copy.deepcopy(flow)
    for one, other in zip(jax.tree.leaves(flow), jax.tree.leaves(copied), strict=True):
        assert one.unsafe_buffer_pointer() != other.unsafe_buffer_pointer()


def test_a_flow_can_be_tabulated(flow: fl.Flow):
    """Catches layers that flax's table of a module cannot follow."""
    table = nnx.tabulate(flow, jnp.ones((3, 2)), method="log_prob", depth=2)
    assert "Chain" in table and "Param" in table
    assert flow.log_prob(jnp.ones((3, 2))).shape == (3,)
