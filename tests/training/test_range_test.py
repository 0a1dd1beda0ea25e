"""The learning rate range test."""

import chex
import jax
import numpy as np
import pytest
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.training import find_learning_rate
from flowjax_lite.training.range_test import _smooth

KEY = jax.random.key(0)
SETTINGS = {"batch_size": 50, "max_epochs": 25, "patience": None, "progress": False}


def moons() -> np.ndarray:
    """A few rows of two moons."""
    return fl.data.toy("moons").train.x[:1000]


def flow(**options) -> fl.Flow:
    """A small coupling flow, at the identity."""
    settings = {"num_layers": 4, "hidden": (16, 16), "activation": "relu"}
    return fl.flows.realnvp(dim=2, **settings, **options, rngs=nnx.Rngs(0))


def scaled(flow: fl.Flow, factor: float) -> fl.Flow:
    """The flow with other parameters."""
    graphdef, params, rest = nnx.split(flow, nnx.Param, ...)
    return nnx.merge(graphdef, jax.tree.map(lambda leaf: factor * leaf, params), rest)


def reparametrised_loss(flow, x, condition=None, weights=None, key=None):
    """The loss of a flow that was scaled by a tenth."""
    return fl.negative_log_likelihood(scaled(flow, 10.0), x, condition, weights, key)


def test_the_suggestion_trains_better_than_far_from_it():
    """Catches a suggestion at which little happens, or too much."""
    rate = find_learning_rate(flow(), moons(), key=KEY).suggestion
    low, found, high = (
        fl.fit(
            flow(),
            moons(),
            key=KEY,
            optimizer=fl.AdamW(each, schedule="constant", warmup=0.0),
            validation=fl.data.toy("moons").test.x,
            **SETTINGS,
        )
        for each in (rate / 10, rate, 10 * rate)
    )
    best = [min(result.history["validation"]) for result in (low, found, high)]
    assert best[1] < min(best[0], best[2]) - 0.05


def test_the_suggestion_moves_with_the_problem():
    """The twin: catches a suggestion that is the same whatever happens.

    Steps of Adam have the size of the rate, so parameters of a tenth want a tenth of it.
    """
    x = moons()
    first = find_learning_rate(flow(), x, key=KEY)
    second = find_learning_rate(scaled(flow(), 0.1), x, key=KEY, loss=reparametrised_loss)
    assert first.losses[0] == pytest.approx(second.losses[0], rel=1e-5)
    assert 3 < first.suggestion / second.suggestion < 30


def test_rates_losses_and_flow():
    """Catches a range of other ends, losses after the step, rows left out, a flow that changes."""
    model, x = flow(), moons()[:64]
    before = jax.tree.map(np.array, model)
    found = find_learning_rate(model, x, key=KEY, lowest=1e-5, highest=1e-2, num_steps=40)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-5, 1e-2, 40), rtol=1e-5)
    chex.assert_trees_all_equal(before, model)
    losses = -model.log_prob(x)
    assert abs(found.losses[0] - losses.mean()) < 5 * losses.std() / np.sqrt(64)
    assert found.losses[-5:].mean() < found.losses[:5].mean() - 0.1


def test_the_range_ends_where_steps_fail():
    """Catches a crash, and a suggestion that was found among losses that are not finite."""
    x = moons()

    def fragile(flow, x, condition=None, weights=None, key=None):
        far = sum(abs(leaf).sum() for leaf in jax.tree.leaves(nnx.state(flow, nnx.Param)))
        loss = fl.negative_log_likelihood(flow, x, condition, weights, key)
        return jax.numpy.where(far < 1.02 * start, loss, -jax.numpy.inf)

    start = sum(abs(leaf).sum() for leaf in jax.tree.leaves(nnx.state(flow(), nnx.Param)))
    found = find_learning_rate(flow(), x, key=KEY, loss=fragile)
    assert 10 < len(found.rates) == len(found.losses) < 300
    assert np.isfinite(found.losses).all()
    assert found.suggestion < found.rates[-1]
    with pytest.raises(ValueError, match="not finite at the first step"):
        find_learning_rate(flow(), x, key=KEY, loss=lambda *args: fragile(*args) * jax.numpy.nan)


def test_one_lucky_batch_is_passed_over():
    """Catches a smoothed loss that is not smooth, or that lags behind."""
    losses = np.abs(np.arange(100) - 60.0)
    smooth = _smooth(losses, half=5)
    np.testing.assert_array_equal(smooth[5:50], losses[5:50])
    losses[[20, 30]] = -1e6, 1e6
    assert abs(_smooth(losses, half=5) - smooth).max() <= 1


def test_conditions_and_weights_are_used():
    """Catches a condition that is not passed on, and weights without effect."""
    x, weights = moons(), np.zeros(1000)
    weights[:100] = 1.0
    far = np.concatenate([x[:100], 1e3 + x[100:]])
    options = {"condition": x[:, :1], "key": KEY, "checks": "off"}
    found = find_learning_rate(flow(condition_dim=1), far, weights=weights, **options)
    assert found.losses[0] < 10
    assert find_learning_rate(flow(condition_dim=1), far, **options).losses[0] > 1e3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lowest": 0.0}, "lowest is 0.0 and highest 1.0"),
        ({"lowest": 1.0}, "lowest is 1.0 and highest 1.0"),
        ({"num_steps": 0}, "num_steps"),
        ({"data": np.full((5, 2), np.nan, np.float32)}, "NaN"),
        ({"data": np.random.default_rng(0).normal(size=(50, 3))}, r"shape \(50, 3\)"),
    ],
)
def test_mistakes_are_named(change: dict, message: str):
    """Catches rows and settings that are found wrong after compilation, or never."""
    with pytest.raises(ValueError, match=message):
        find_learning_rate(flow(), **{"data": moons(), "key": KEY} | change)
