"""Gradients and optimizers of a whole module: what is no parameter stays."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import flowjax_lite as fl
from flowjax_lite import bijectors as b

X = jax.random.normal(jax.random.key(1), (16, 3)) + 1.0


@pytest.fixture(scope="module")
def flow() -> fl.Flow:
    """Constants of all kinds: a scale of the data, indices, a rotation, and a first batch's."""
    layers = [b.ActNorm(3), b.RandomRotation(3, rngs=nnx.Rngs(0)), b.Permutation([2, 0, 1])]
    chain = b.Chain([b.Affine(3), *layers, b.Standardize.from_data(X)])
    return fl.initialize(fl.Flow(fl.distributions.StandardNormal(3), chain), X)


def gradients(flow: fl.Flow) -> fl.Flow:
    """Of the whole module."""
    return jax.grad(fl.negative_log_likelihood, allow_int=True)(flow, X)


def test_buffers_have_no_gradient(flow: fl.Flow):
    """Catches constants that plain gradient descent on a whole module trains along."""
    of_flow = gradients(flow)
    leaves = jax.tree.leaves(nnx.state(of_flow, b.Buffer))
    assert len(leaves) == 7
    assert not any(np.any(leaf) for leaf in leaves if leaf.dtype == jnp.float32)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(nnx.state(of_flow, nnx.Param)))


def test_plain_adam_leaves_buffers(flow: fl.Flow):
    """Catches buffers that an optimizer without decay moves; one with it is the twin."""
    floats = b.Chain([part for part in flow.bijector.bijectors if part.event_shape == (3,)][:3])
    module = fl.Flow(flow.base, floats)  # without indices, which have no gradients
    of_module = jax.grad(fl.negative_log_likelihood)(module, X)

    def moved(optimizer: optax.GradientTransformation) -> bool:
        updates, _ = optimizer.update(of_module, optimizer.init(module), module)
        old, new = (
            nnx.state(each, b.Buffer) for each in (module, optax.apply_updates(module, updates))
        )
        return any(map(np.any, jax.tree.leaves(jax.tree.map(jnp.not_equal, old, new))))

    assert not moved(optax.adam(0.1))
    assert moved(optax.adamw(0.1, weight_decay=0.1))


def test_params_alone_are_trained(flow: fl.Flow):
    """Catches weight decay of buffers, and parameters that are trained in another way."""
    plain = optax.adamw(0.1, weight_decay=0.5)
    optimizer = fl.training.params_only(plain)
    updates, _ = jax.jit(optimizer.update)(gradients(flow), optimizer.init(flow), flow)
    new = optax.apply_updates(flow, updates)
    assert nnx.graphdef(new) == nnx.graphdef(flow)
    chex.assert_trees_all_equal(nnx.state(new, b.Buffer), nnx.state(flow, b.Buffer))
    params, of_params = (nnx.state(each, nnx.Param) for each in (flow, gradients(flow)))
    expected, _ = plain.update(of_params, plain.init(params), params)
    expected = optax.apply_updates(params, expected)
    chex.assert_trees_all_close(nnx.state(new, nnx.Param), expected, rtol=1e-6)


def test_a_missing_module_is_told(flow: fl.Flow):
    """Catches a call as for optimizers that need no parameters."""
    optimizer = fl.training.params_only(optax.adam(0.1))
    with pytest.raises(TypeError, match="module is missing"):
        optimizer.update(flow, optimizer.init(flow))
