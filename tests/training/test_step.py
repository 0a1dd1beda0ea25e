"""The pure training step and the loss."""

import chex
import jax
import numpy as np
import optax
from flax import nnx

import flowjax_lite as fl


def make_flow() -> fl.Flow:
    """A flow with trainable parameters and buffers."""
    data_map = fl.bijectors.Standardize(3, loc=2.0, scale=3.0)
    return fl.flows.maf(dim=3, num_layers=2, hidden=(8,), data_map=data_map, rngs=nnx.Rngs(0))


def test_step_is_pure_and_leaves_buffers_alone():
    """Catches a mutated input, and training of constants."""
    flow, optimizer = make_flow(), optax.sgd(0.1)
    before = jax.tree.map(np.array, flow)
    state = fl.TrainState.create(flow, optimizer)
    step = jax.jit(fl.make_train_step(fl.negative_log_likelihood, optimizer))
    x = jax.random.normal(jax.random.key(0), (16, 3))
    new, loss = step(state, x)
    assert loss == fl.negative_log_likelihood(flow, x)
    chex.assert_trees_all_equal(before, flow)
    old_buffers, new_buffers = (nnx.state(each, fl.bijectors.Buffer) for each in (flow, new.flow))
    chex.assert_trees_all_equal(old_buffers, new_buffers)
    assert step(new, x)[1] < loss
    assert jax.tree.structure(new) == jax.tree.structure(state)


def test_step_follows_the_gradient():
    """Catches a wrong sign or a scaled gradient: one SGD step against jax.grad."""
    flow = make_flow()
    x = jax.random.normal(jax.random.key(0), (16, 3))
    graphdef, params, buffers = nnx.split(flow, nnx.Param, ...)
    gradient = jax.grad(lambda params: -nnx.merge(graphdef, params, buffers).log_prob(x).mean())(
        params
    )
    expected = jax.tree.map(lambda p, g: p - 0.5 * g, params, gradient)
    optimizer = optax.sgd(0.5)
    state = fl.TrainState.create(flow, optimizer)
    new, _ = fl.make_train_step(fl.negative_log_likelihood, optimizer)(state, x)
    got = nnx.state(new.flow, nnx.Param)
    chex.assert_trees_all_close(expected, got, atol=1e-6)
