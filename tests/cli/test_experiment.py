import numpy as np
import pytest
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.cli.run import experiment
from flowjax_lite.data import Split


def _flow(condition_dim: int | None = None) -> fl.Flow:
    return fl.flows.realnvp(
        dim=2, condition_dim=condition_dim, num_layers=1, hidden=(4,), rngs=nnx.Rngs(0)
    )


@pytest.mark.parametrize("rows", [1, 7, 10, 23])
def test_batches_are_the_same_as_one_call(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Would catch lost or repeated rows where the last batch is not full."""
    monkeypatch.setattr(experiment, "BATCH", 10)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 2)).astype(np.float32)
    c = rng.normal(size=(rows, 3)).astype(np.float32)
    flow, conditional = _flow(), _flow(3)
    np.testing.assert_allclose(experiment.log_prob(flow, Split(x)), flow.log_prob(x), rtol=1e-5)
    got = experiment.log_prob(conditional, Split(x, c))
    np.testing.assert_allclose(got, conditional.log_prob(x, c), rtol=1e-5)


def test_samples_differ_between_batches_and_repeat_with_the_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Would catch one key for all batches, which repeats the same samples again and again."""
    monkeypatch.setattr(experiment, "BATCH", 10)
    samples = experiment.sample(_flow(), 25, seed=0)
    assert samples.shape == (25, 2)
    assert len(np.unique(samples, axis=0)) == 25
    np.testing.assert_array_equal(samples, experiment.sample(_flow(), 25, seed=0))
    assert not np.array_equal(samples, experiment.sample(_flow(), 25, seed=1))


def test_samples_of_one_condition_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch conditions in another order than the documented one."""
    monkeypatch.setattr(experiment, "BATCH", 4)
    monkeypatch.setattr(fl.Flow, "sample", lambda flow, key, shape, condition: condition)
    condition = np.array([[-1.0], [1.0]], np.float32)
    samples = experiment.sample(_flow(1), 3, seed=0, condition=condition)
    assert samples[:, 0].tolist() == [-1, -1, -1, 1, 1, 1]
