"""What a run measures on its way, and what it chooses and ends by."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.interrupted import last, settings, tiny

import flowjax_lite as fl

BASIC = {"key": jax.random.key(0), "batch_size": 20, "progress": False}


def rows() -> np.ndarray:
    """Correlated, shifted rows."""
    z = np.random.default_rng(0).standard_normal((200, 2))
    return (z @ [[1.0, 0.9], [0.0, 0.4]] + 1.0).astype(np.float32)


def distance(flow: fl.Flow) -> jax.Array:
    """Of the flow from where it was, which only grows at first."""
    leaves = zip(*map(jax.tree.leaves, (flow, tiny())), strict=True)
    return sum(jnp.sum((a - b) ** 2) for a, b in leaves if jnp.issubdtype(a.dtype, jnp.floating))


def test_the_monitored_metric_chooses_and_ends():
    """Catches a metric that is only written down: the first epoch is the best by this one."""
    common = BASIC | {"max_epochs": 10, "patience": 3, "metrics": {"distance": distance}}
    result = fl.fit(tiny(), rows(), monitor="distance", **common)
    assert len(result.history["distance"]) == 4
    assert result.best_epoch == 0
    assert list(result.history["distance"]) == sorted(result.history["distance"])
    assert float(distance(result.flow)) == pytest.approx(result.history["distance"][0], rel=1e-6)
    by_validation = fl.fit(tiny(), rows(), **common)
    assert by_validation.best_epoch == 9
    assert by_validation.history["distance"][:4] == result.history["distance"]


def test_training_loss_can_be_monitored():
    """Catches a choice by rows held out where they get worse, and the others better."""
    x = rows()
    common = BASIC | {"max_epochs": 5, "validation": 10 * x[:50]}
    assert fl.fit(tiny(), 0.05 * x, monitor="train", **common).best_epoch == 4
    assert fl.fit(tiny(), 0.05 * x, **common).best_epoch < 4


@pytest.mark.parametrize("fit", [fl.fit, fl.fit_ensemble])
def test_a_first_epoch_that_is_not_finite_does_not_hide_the_others(fit):
    """Catches the lowest of numbers with a NaN in front, which is NaN: no epoch is better."""

    def at_first_nan(flow, x, condition=None, weights=None, key=None):
        value = fl.negative_log_likelihood(flow, x, condition, weights)
        return value if key is not None else jnp.where(distance(flow) < 4.0, jnp.nan, value)

    flow = tiny() if fit is fl.fit else [tiny()]
    common = BASIC | {"max_epochs": 6, "learning_rate": 1e-2}
    result = fit(flow, rows(), loss=at_first_nan, **common)
    result = result if fit is fl.fit else result.members[0]
    values = np.array(result.history["validation"])
    assert np.isnan(values[0]) and np.isfinite(values[-1])
    assert result.best_epoch == np.nanargmin(values)


def test_metrics_are_of_the_average_that_is_kept():
    """Catches metrics of other parameters than those that are validated."""
    common = BASIC | {"max_epochs": 3, "ema": 0.9, "metrics": {"distance": distance}}
    result = fl.fit(tiny(), rows(), **common)
    assert float(distance(result.flow)) == pytest.approx(result.history["distance"][-1], rel=1e-6)


def test_a_run_with_metrics_goes_on(tmp_path):
    """Catches metrics, and what they chose, that a checkpoint forgets."""
    common = settings(tmp_path) | {"metrics": {"distance": distance}, "monitor": "distance"}
    whole = fl.fit(tiny(), **common)
    again = fl.fit(tiny(), **common)
    assert again.history == whole.history
    assert again.best_epoch == whole.best_epoch == 0
    assert last(tmp_path)[0] == 33
    with pytest.raises(ValueError, match="its monitor was 'distance' and is now 'validation'"):
        fl.fit(tiny(), **common | {"monitor": "validation"})


def test_names_are_checked():
    """Catches a metric that overwrites a column, and one that is monitored and never measured."""
    with pytest.raises(ValueError, match="metrics names 'seconds', which the history has already"):
        fl.fit(tiny(), rows(), metrics={"seconds": distance}, **BASIC)
    with pytest.raises(ValueError, match="distanse"):
        fl.fit(tiny(), rows(), metrics={"distance": distance}, monitor="distanse", **BASIC)


def test_the_learning_rate_is_that_of_the_last_step():
    """Catches another place of the schedule, also where batches are gathered."""
    rates = fl.fit(tiny(), rows(), **BASIC, max_epochs=4).history["learning_rate"]
    schedule = optax.join_schedules(
        [optax.linear_schedule(0, 1e-3, 1), optax.cosine_decay_schedule(1e-3, 35)], [1]
    )
    np.testing.assert_allclose(rates, [schedule(9 * i - 1) for i in range(1, 5)], rtol=1e-5)
    gathered = fl.AdamW(schedule="linear", warmup=0, accumulate=3)
    rates = fl.fit(tiny(), rows(), **BASIC, max_epochs=4, optimizer=gathered).history
    expected = [1e-3 * (1 - (3 * i - 2) / 11) for i in range(1, 5)]
    np.testing.assert_allclose(rates["learning_rate"], expected, rtol=1e-5)
    own = fl.fit(tiny(), rows(), **BASIC, max_epochs=1, optimizer=optax.sgd(1e-3)).history
    assert "learning_rate" not in own
