"""Likelihood, also with a price on the paths of an ODE, and flows that it trains."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array
from jax.scipy.linalg import expm

import flowjax_lite as fl
from flowjax_lite.continuous import AbstractDynamics, ContinuousFlow, transport
from flowjax_lite.data.named.toys import moons
from flowjax_lite.distributions import Flow, StandardNormal

X = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)


class Linear(AbstractDynamics):
    """dx/dt = A x + b."""

    def __init__(self, dim: int) -> None:
        self.matrix = nnx.Param(jnp.zeros((dim, dim)))
        self.shift = nnx.Param(jnp.zeros(dim))
        self.event_shape = (dim,)
        self.condition_shape = None

    def __call__(self, time: Array, x: Array, condition: Array | None = None) -> Array:
        return jnp.matmul(self.matrix[...], x, precision="highest") + self.shift[...]


def flow(seed: int = 0, **settings) -> Flow:
    """A small flow that moves."""
    settings = {"dim": 2, "hidden": (8,), "rtol": 1e-5, "atol": 1e-5} | settings
    return randomised(fl.flows.rnode(rngs=nnx.Rngs(seed), **settings), scale=0.4)


def test_fit_learns_a_rotation_and_a_scaling():
    """Catches a training step that stops short of the likelihood's maximum, which is known."""
    angle, scales = 0.7, np.diag([2.0, 0.5])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    x = np.random.default_rng(0).normal(size=(200, 2)) @ (rotation @ scales).T + 1.0
    model = Flow(StandardNormal(2), ContinuousFlow(Linear(2)))
    result = fl.fit(
        model,
        x.astype(np.float32),
        key=jax.random.key(0),
        batch_size=200,
        learning_rate=0.1,
        max_epochs=300,
        validation=None,
        patience=None,
        progress=False,
    )
    matrix = expm(result.flow.bijector.dynamics.matrix[...])
    np.testing.assert_allclose(matrix @ matrix.T, np.cov(x.T, bias=True), atol=2e-3)
    np.testing.assert_allclose(result.flow.bijector.forward(jnp.zeros(2)), x.mean(0), atol=2e-3)


@jax.jit
def energies(model: Flow, x: Array) -> Any:
    """What the ways of rows cost."""
    way = jax.vmap(lambda x: transport(model.bijector, x, inverse=True, energies=True))
    return way(x).energies


def test_prices_are_added():
    """Catches a price that is left out, has the wrong sign, or stands on rows held out."""
    loss = fl.regularized_likelihood(kinetic=0.5, jacobian=0.0)
    free = fl.regularized_likelihood(kinetic=0.0, jacobian=0.0)
    jacobian = fl.regularized_likelihood(kinetic=0.0, jacobian=0.5)
    # One probe estimates the norm, so many rows are needed for its mean.
    many = np.repeat(X, 400, axis=0)

    @jax.jit
    def measure(model: Flow, key: Array) -> tuple:
        held_out = fl.negative_log_likelihood(model, X), loss(model, X)
        kinetic = loss(model, X, key=key) - free(model, X, key=key)
        norm = jacobian(model, many, key=key) - free(model, many, key=key)
        return held_out, kinetic, norm, energies(model, X)

    # Seven solves in one program: a fixed number of steps compiles far faster.
    model = fl.flows.rnode(dim=2, hidden=(8,), num_layers=2, num_steps=8, rngs=nnx.Rngs(0))
    model = randomised(model, scale=0.4)
    (plain, unpriced), kinetic, norm, expected = measure(model, jax.random.key(0))
    assert plain == unpriced
    np.testing.assert_allclose(kinetic, 0.5 * expected.kinetic.mean(), rtol=1e-3)
    np.testing.assert_allclose(norm, 0.5 * expected.jacobian.mean(), rtol=0.1)


def test_prices_shorten_the_way():
    """Catches a price without a gradient."""
    x = moons(400, seed=0)
    energy = []
    for price in (0.0, 1.0):
        loss = fl.regularized_likelihood(kinetic=price, jacobian=price)
        settings = {"batch_size": 90, "max_epochs": 10, "learning_rate": 0.01, "progress": False}
        model = fl.flows.rnode(dim=2, hidden=(16,), num_steps=4, rngs=nnx.Rngs(0))
        model = fl.fit(model, x, key=jax.random.key(0), loss=loss, **settings).flow
        energy.append(energies(model, x).kinetic.mean())
    assert energy[1] < 0.5 * energy[0]


def test_weighted_loss_ignores_rows_of_weight_zero_even_if_not_finite():
    """Catches 0 * inf in padded batches."""
    model = flow()
    x = jax.random.normal(jax.random.key(0), (4, 2))
    weights = jnp.array([1.0, 2.0, 0.0, 1.0])
    log_prob = model.log_prob(x)
    expected = -(log_prob[0] + 2 * log_prob[1] + log_prob[3]) / 4
    poisoned = x.at[2].set(jnp.nan)
    for rows in (x, poisoned):
        got = fl.negative_log_likelihood(model, rows, weights=weights)
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_gradients_of_losses_do_not_see_rows_without_weight():
    """Catches a row that is taken out behind the flow, whose gradient is then NaN."""
    flow = fl.flows.cnf(dim=2, hidden=(4,), method="euler", num_steps=2, rngs=nnx.Rngs(0))
    graphdef, params, rest = nnx.split(flow, nnx.Param, ...)
    x, weights = jnp.asarray(X), jnp.ones(6).at[3].set(0.0)
    losses = fl.negative_log_likelihood, fl.regularized_likelihood(), fl.flow_matching()
    for loss in losses:

        def of(params, x, loss=loss):
            return loss(nnx.merge(graphdef, params, rest), x, None, weights, jax.random.key(0))

        clean, spoiled = (jax.grad(of)(params, each) for each in (x, x.at[3].set(jnp.nan)))
        chex.assert_trees_all_equal(clean, spoiled)
        chex.assert_tree_all_finite(clean)


def test_mistakes_are_named():
    """Catches prices and flows that cannot be trained."""
    with pytest.raises(ValueError, match="kinetic is -1"):
        fl.regularized_likelihood(kinetic=-1.0)
    with pytest.raises(ValueError, match="the flow holds none"):
        model = fl.flows.maf(dim=2, num_layers=2, hidden=(4,), rngs=nnx.Rngs(0))
        fl.regularized_likelihood()(model, X)
