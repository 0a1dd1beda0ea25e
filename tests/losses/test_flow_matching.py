"""Flow matching, and the flows that it trains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from scipy.optimize import linear_sum_assignment

import flowjax_lite as fl
from flowjax_lite.bijectors import Invert, Standardize
from flowjax_lite.continuous import ContinuousFlow, MLPDynamics
from flowjax_lite.data.named.toys import moons
from flowjax_lite.distributions import Flow, StandardNormal
from flowjax_lite.losses.flow_matching import _assignment, _on_path

X = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)


def flow(seed: int = 0, **settings) -> Flow:
    """A small flow that moves."""
    settings = {"dim": 2, "hidden": (8,), "rtol": 1e-5, "atol": 1e-5} | settings
    return randomised(fl.flows.rnode(rngs=nnx.Rngs(seed), **settings), scale=0.4)


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
