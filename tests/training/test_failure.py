"""Training that goes wrong says so, and keeps what it had found."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.training.epoch import MOST_SKIPPED

KEY, STEPS = jax.random.key(0), 12
SETTINGS = {"key": KEY, "batch_size": 10, "max_epochs": 4, "progress": False}


def rows(count: int = 10 * STEPS) -> np.ndarray:
    """Correlated, shifted rows."""
    z = np.random.default_rng(0).standard_normal((count, 2))
    return (z @ [[1.0, 0.9], [0.0, 0.4]] + 1.0).astype(np.float32)


def tiny() -> fl.Flow:
    """A flow that trains in no time."""
    return fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))


@dataclass(frozen=True)
class Faulty:
    """Likelihood, but for a fault in some steps, which are told by their keys.

    Attributes:
        steps: numbers of steps, counted through all epochs.
        where: "loss", or "gradient", where the loss stays finite.
    """

    steps: tuple[int, ...]
    where: str = "loss"

    def __call__(self, flow, x, condition=None, weights=None, key=None):
        value = fl.negative_log_likelihood(flow, x, condition, weights)
        if key is None:
            return value
        keys = [
            jax.random.fold_in(jax.random.fold_in(KEY, s // STEPS), 1 + s % STEPS)
            for s in self.steps
        ]
        bad = jnp.any(
            jnp.stack([jnp.all(jax.random.key_data(k) == jax.random.key_data(key)) for k in keys])
        )
        if self.where == "gradient":  # that of a root at zero
            zero = value - jax.lax.stop_gradient(value)
            return value + jnp.sqrt(jnp.where(bad, zero, 1.0))
        return jnp.where(bad, jnp.nan, value)


def fit(steps: Iterable[int], where: str = "loss", **settings) -> fl.FitResult:
    """Train with faults in some steps."""
    options = SETTINGS | {"validation": rows(50)} | settings
    return fl.fit(tiny(), rows(), loss=Faulty(tuple(steps), where), **options)


@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("steps", [(7,), range(7, 12), (0, 13, 26)])
def test_single_faults_are_skipped_and_told(steps, where):
    """Catches a NaN that reaches parameters or optimizer, and one passed over in silence."""
    message = f"{len(steps)} of 48 steps were skipped.*first step {steps[0]} of epoch 0"
    with pytest.warns(RuntimeWarning, match=message):
        result = fit(steps, where)
    assert sum(result.history["skipped"]) == len(steps)
    assert result.best_epoch == 3
    assert np.isfinite(result.history["train"]).all()
    clean = fit([STEPS * 99])
    assert result.history["validation"][-1] == pytest.approx(
        clean.history["validation"][-1], abs=0.05
    )
    assert clean.history["skipped"] == (0,) * 4


def test_a_skipped_step_leaves_everything_as_it_was():
    """Catches an optimizer that counts, or forgets, in a step that did not happen."""
    flow, optimizer = tiny(), optax.adam(1e-2)
    step = jax.jit(fl.make_train_step(fl.negative_log_likelihood, optimizer))
    state, _ = step(fl.TrainState.create(flow, optimizer), rows())
    after, loss = step(state, np.full((4, 2), np.nan, np.float32))
    assert jnp.isnan(loss)
    chex.assert_trees_all_equal(state, after)


def test_ten_in_a_row_go_back_and_go_on():
    """Catches a run that gives up, or stays where every step fails, after a bad stretch."""
    stretch = range(STEPS + 1, STEPS + 1 + MOST_SKIPPED)
    with pytest.warns(RuntimeWarning, match=r"went back 1 times"):
        result = fit(stretch)
    assert result.history["skipped"] == (0, MOST_SKIPPED, 0, 0)
    rates = result.history["learning_rate"]
    assert rates[1] < 0.11 * rates[0]
    assert result.best_epoch == 3


def test_faults_without_end_end_with_an_error_that_names_them():
    """Catches endless skipping, and a good model thrown away: fault from epoch 2 on."""
    with pytest.raises(fl.DivergedError) as caught:
        fit(range(2 * STEPS, 9 * STEPS), max_epochs=9)
    message, result = str(caught.value), caught.value.result
    assert re.search(r"10 steps in a row were not finite, up to step \d+ of epoch 5", message)
    assert "the best model, of epoch 1," in message
    assert re.search(r"the largest parameter is bijector/\S+, of size \d", message)
    assert result.best_epoch == 1
    log_prob = float(result.flow.log_prob(rows(50)).mean())
    assert -log_prob == pytest.approx(result.history["validation"][1], rel=1e-5)


def test_a_bad_row_is_named():
    """Catches a message about the batch, or about its place in the shuffled rows.

    The row is finite, and its density in float32 is not.
    """
    x = rows()
    x[37, 0] = 1e25
    with pytest.warns(RuntimeWarning, match=r"4 of 44 steps .* of its \d+ rows is not finite: 37$"):
        fl.fit(tiny(), x, checks="off", **SETTINGS | {"validation": 0.1})


def test_parameters_that_leap_away_are_not_kept():
    """Catches updates that are not finite although loss and gradient are."""
    leap = optax.scale_by_schedule(lambda step: jnp.where(step < 15, -1e-3, jnp.inf))
    with pytest.raises(fl.DivergedError, match="the best model, of epoch 1") as caught:
        fl.fit(tiny(), rows(), optimizer=leap, validation=rows(50), **SETTINGS | {"max_epochs": 9})
    assert np.isfinite(caught.value.result.flow.log_prob(rows())).all()


def test_nothing_good_from_the_start():
    """Catches a useless model returned as a success."""
    flow = jax.tree.map(lambda leaf: leaf * jnp.nan, tiny())
    with pytest.raises(fl.DivergedError, match=r"before the first epoch.*lower learning_rate"):
        fl.fit(flow, rows(), **SETTINGS)


def test_validation_that_is_never_finite():
    """Catches an untrained model returned as the best of epochs that could not be compared."""
    held_out = rows(50)
    held_out[0, 0] = 1e25
    with pytest.raises(fl.DivergedError, match=r"no epoch of 4 .*'validation'.*rows held out"):
        fit([STEPS * 99], validation=held_out, checks="off")
