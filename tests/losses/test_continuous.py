"""Losses of continuous flows, and flows that they train."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array
from jax.scipy.linalg import expm
from scipy.optimize import linear_sum_assignment

import flowjax_lite as fl
from flowjax_lite.bijectors import Invert, Standardize
from flowjax_lite.continuous import AbstractDynamics, ContinuousFlow, MLPDynamics, transport
from flowjax_lite.data.named.toys import moons
from flowjax_lite.distributions import Flow, StandardNormal
from flowjax_lite.losses.continuous import _assignment, _on_path

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

    (plain, unpriced), kinetic, norm, expected = measure(flow(num_layers=2), jax.random.key(0))
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


@pytest.mark.parametrize("path", ["straight", "variance_preserving"])
def test_velocity_is_that_of_the_path(path: str):
    """Catches a target that is not the derivative of the point, and ends that are exchanged."""
    z, x = jnp.array([0.5, -1.0]), jnp.array([2.0, 0.3])
    for time, end in ((0.0, z), (1.0, x)):
        np.testing.assert_allclose(_on_path(path, z, x, jnp.float32(time))[0], end, atol=1e-6)
    point, slope = jax.jvp(
        lambda time: _on_path(path, z, x, time)[0], (jnp.float32(0.3),), (jnp.float32(1.0),)
    )
    velocity = _on_path(path, z, x, jnp.float32(0.3))[1]
    np.testing.assert_allclose(velocity, slope, rtol=1e-5)
    assert jnp.all(point != z)


def test_optimal_transport_has_the_least_cost():
    """Catches rows and columns exchanged, and a cost that is not the squared distance."""
    z, x = np.random.default_rng(0).normal(size=(2, 30, 3)).astype(np.float32)
    order = np.asarray(jax.jit(_assignment)(z, x))
    assert sorted(order) == list(range(30))
    distances = ((x[:, None] - z[None]) ** 2).sum(axis=-1)
    least = distances[linear_sum_assignment(distances)].sum()
    np.testing.assert_allclose(((x - z[order]) ** 2).sum(), least, rtol=1e-5)
    assert least < 0.9 * ((x - z) ** 2).sum()


@pytest.mark.parametrize("settings", [{}, {"coupling": "optimal_transport"}])
def test_flow_matching_learns_a_density(settings: dict):
    """Catches a velocity of another path, or data that do not go through the data map."""
    x = moons(2000, seed=0) * np.float32([3.0, 10.0]) + 100
    data_map = Standardize.from_data(x)
    options = {"data_map": data_map, "rtol": 1e-3, "atol": 1e-3}
    model = fl.flows.cnf(dim=2, hidden=(32, 32), rngs=nnx.Rngs(0), **options)
    loss = fl.flow_matching(**settings)
    result = fl.fit(
        model,
        x,
        key=jax.random.key(0),
        loss=loss,
        learning_rate=5e-3,
        max_epochs=30,
        patience=None,
        progress=False,
    )
    gained = fl.negative_log_likelihood(model, x[:200]) - fl.negative_log_likelihood(
        result.flow, x[:200]
    )
    assert gained > 0.3
    assert loss(result.flow, x[:200]) == loss(result.flow, x[:200])  # without a key: no noise
    key = jax.random.key(1)
    assert loss(result.flow, x[:200], key=key) != loss(result.flow, x[:200])


def test_flow_matching_takes_conditions_and_weights():
    """Catches a condition that goes unmapped or unused, and rows of weight zero that count."""
    model = flow(condition_dim=1, condition_map=Standardize(1, loc=3.0, scale=2.0))
    loss, condition = fl.flow_matching(), np.arange(6, dtype=np.float32)[:, None]
    value = loss(model, X, condition)
    assert loss(model, X, condition[::-1]) != value
    unmapped = flow(condition_dim=1)
    mapped = (condition - 3) / 2
    np.testing.assert_allclose(loss(unmapped, X, mapped), value, rtol=1e-5)
    weights = np.float32([1, 1, 0, 1, 1, 1])
    bad = X.copy()
    bad[2] = np.nan
    assert jnp.isfinite(loss(model, bad, condition, weights))


def test_mistakes_are_named():
    """Catches flows and settings that a loss cannot train."""
    matching = fl.flow_matching()
    for model in (
        fl.flows.realnvp(dim=2, num_layers=2, hidden=(4,), rngs=nnx.Rngs(0)),
        flow(num_layers=2),
        Flow(
            StandardNormal(2),
            Invert(ContinuousFlow(MLPDynamics(2, hidden=(4,), rngs=nnx.Rngs(0)))),
        ),
    ):
        with pytest.raises(ValueError, match="exactly one ContinuousFlow"):
            matching(model, X)
    with pytest.raises(ValueError, match="coupling is 'ot'; expected one of 'independent'"):
        fl.flow_matching(coupling="ot")
    with pytest.raises(ValueError, match="path is 'curved'; expected one of 'straight'"):
        fl.flow_matching(path="curved")
    with pytest.raises(ValueError, match='use coupling="independent"'):
        fl.flow_matching(coupling="optimal_transport")(flow(condition_dim=1), X, X[:, :1])
    with pytest.raises(ValueError, match="kinetic is -1"):
        fl.regularized_likelihood(kinetic=-1.0)
    with pytest.raises(ValueError, match="the flow holds none"):
        model = fl.flows.maf(dim=2, num_layers=2, hidden=(4,), rngs=nnx.Rngs(0))
        fl.regularized_likelihood()(model, X)
