import dataclasses
import math
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from scipy.stats import norm

import flowjax_lite as fl
from flowjax_lite.cli import config as configs
from flowjax_lite.cli.config import Config
from flowjax_lite.cli.config.schema import BASES
from flowjax_lite.cli.run import experiment
from flowjax_lite.cli.run.experiment import check_logit, examples, load_data, prepare
from flowjax_lite.data import Dataset, Split

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def _data(x: np.ndarray, condition: np.ndarray | None = None) -> Dataset:
    split = Split(x.astype(np.float32), None if condition is None else condition.astype(np.float32))
    return Dataset("made", split, split, split, columns=tuple("abcdefgh"[: x.shape[1]]))


def _images(shape: tuple[int, int]) -> Dataset:
    """Images in the place of a file that the repository does not hold."""
    rows = Split(np.random.default_rng(0).random((200, math.prod(shape))).astype(np.float32))
    return Dataset("made", rows, rows, rows, columns=(), image_shape=shape, num_levels=256)


def _flow(
    data: Dataset, family: str, *, logit: float | None = None, seed: int = 0, **options: object
) -> fl.Flow:
    config = Config(
        "a",
        data={"source": "made", "logit": logit},
        flow={"family": family, "hidden": (4,), "num_layers": 1, **options},
        training={"seed": seed},
    )
    return prepare(config, data).flow


def _identity(data: Dataset, *, logit: float | None) -> fl.Flow:
    """A flow that is still the identity between base and data map."""
    return _flow(data, "nice", logit=logit)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_builds(path: Path) -> None:
    """Would catch a config in the repository that names what no longer exists."""
    config = configs.load(path)
    data = load_data(config.data) if path.stem != "mnist_glow" else _images((28, 28))
    assert len(data.train) >= config.training["batch_size"]
    # Abstract arrays: everything is built and nothing is computed.
    flow = nnx.eval_shape(lambda: prepare(config, data).flow)
    assert math.prod(flow.event_shape) == data.dim


def test_logits_and_the_data_map_are_the_same_map() -> None:
    """Would catch baselines and flow on different scales: then their likelihoods do not compare."""
    x = np.random.default_rng(0).uniform(size=(200, 3))
    data = _data(x)
    rows = examples(data.test, 0.05)
    flow = _identity(data, logit=0.05)
    z, log_det = jax.vmap(flow.bijector.inverse_and_log_det)(data.test.x)
    loc, scale = rows.x.mean(0), rows.x.std(0)
    np.testing.assert_allclose(np.sort(z), np.sort((rows.x - loc) / scale), atol=1e-4)
    np.testing.assert_allclose(log_det, rows.log_det - np.log(scale).sum(), atol=1e-4)


def test_logit_log_det_is_the_derivative() -> None:
    """Would catch a lost factor 1 - 2 logit, or a sign, against a difference quotient."""
    x = np.array([[0.001, 0.5, 0.9]])
    step = 1e-6
    up, down = (examples(Split(x + h), 0.1) for h in (step, -step))
    slopes = (up.x - down.x) / (2 * step)
    middle = examples(Split(x), 0.1)
    np.testing.assert_allclose(np.log(slopes).sum(1), middle.log_det, rtol=1e-6)


def test_without_logit_rows_stay() -> None:
    """Would catch a map that is applied though none was asked for."""
    x, c = np.array([[-3.0, 100.0]]), np.array([[1.0]])
    rows = examples(Split(x, c), None)
    np.testing.assert_array_equal(rows.x, x)
    np.testing.assert_array_equal(rows.condition, c)
    np.testing.assert_array_equal(rows.log_det, 0.0)


def test_new_flow_stands_on_the_data_scale() -> None:
    """Would catch a data map left out or the wrong way round: the untrained flow is a Gaussian."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2)) * [10.0, 0.1] + [1000.0, -5.0]
    flow = _identity(_data(x), logit=None)
    samples = flow.sample(jax.random.key(0), (2000,))
    np.testing.assert_allclose(np.mean(samples, 0), x.mean(0), atol=1.0)
    np.testing.assert_allclose(np.std(samples, 0), x.std(0), rtol=0.1)


def test_angles_keep_their_units() -> None:
    """Would catch angles that are scaled like real numbers, so that full turns mean nothing."""
    x = np.random.default_rng(0).uniform(-3.0, 3.0, size=(100, 2)) * [1.0, 100.0]

    def flow(circular: tuple[int, ...] | None, logit: float | None = None) -> fl.Flow:
        return _flow(_data(x), "circular_nsf", logit=logit, circular=circular)

    mixed = flow((0,))
    expected = norm.logpdf(x[:5, 1], x[:, 1].mean(), x[:, 1].std()) - np.log(2 * np.pi)
    np.testing.assert_allclose(mixed.log_prob(x[:5].astype(np.float32)), expected, rtol=1e-4)
    torus = flow(None).log_prob(x[:5].astype(np.float32))
    np.testing.assert_allclose(torus, -2 * np.log(2 * np.pi), rtol=1e-5)
    with pytest.raises(ValueError, match="circular_nsf takes angles, which have no logits"):
        flow((0,), logit=0.1)
    with pytest.raises(ValueError, match=r"circular is \(2,\); expected"):
        flow((2,))


def test_conditions_are_standardised() -> None:
    """Would catch a condition in thousands that saturates the networks."""
    rng = np.random.default_rng(0)
    data = _data(rng.normal(size=(100, 2)), rng.normal(size=(100, 3)) + 1000.0)
    flow = _identity(data, logit=None)
    assert flow.condition_shape == (3,)
    inside = jax.vmap(flow.condition_map.inverse)(data.train.condition)
    np.testing.assert_allclose(np.mean(inside, 0), 0.0, atol=1e-3)


def test_new_flow_starts_from_training_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch normalising layers that training meets untouched, or set by other rows."""
    monkeypatch.setattr(experiment, "NUM_FIRST", 10)
    rng = np.random.default_rng(0)
    train = Split(rng.normal(size=(195, 2)).astype(np.float32))
    data = dataclasses.replace(_data(rng.normal(size=(9, 2))), train=train)
    z = jax.vmap(_flow(data, "glow_1d", num_layers=2).bijector.inverse)(train.x[::20])
    np.testing.assert_allclose(np.mean(z, 0), 0.0, atol=1e-6)
    np.testing.assert_allclose(np.std(z, 0), 1.0, rtol=1e-6)


@pytest.mark.parametrize("base", BASES)
def test_every_base_builds_and_is_finite(base: str) -> None:
    """Would catch a base that no config can use."""
    data = _data(np.random.default_rng(0).normal(size=(50, 2)))
    assert np.isfinite(_flow(data, "nice", base=base).log_prob(data.test.x)).all()


def test_the_seed_sets_the_parameters() -> None:
    """Would catch runs that cannot be repeated, or that all start alike."""
    data = _data(np.random.default_rng(0).normal(size=(50, 2)))
    flows = [_flow(data, "realnvp", seed=seed) for seed in (0, 0, 1)]
    first, again, other = (jax.tree.leaves(nnx.state(flow, nnx.Param)) for flow in flows)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_logit_needs_the_unit_interval() -> None:
    """Would catch NaN likelihoods from data that were never scaled to [0, 1]."""
    data = _data(np.array([[0.5, 7.0], [0.1, 0.2]]))
    with pytest.raises(ValueError, match=r"data.logit: needs data in \[0, 1\]; made has .* to 7"):
        check_logit(data, 0.05)
    check_logit(data, None)
