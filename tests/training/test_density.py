"""Training without data: it reaches the target, with the guards of `fit`."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.interrupted import last

import flowjax_lite as fl

MEAN, SCALE = jnp.array([1.0, -2.0]), jnp.array([0.5, 2.0])
COMMON = {"key": 0, "learning_rate": 5e-2, "progress": False}


def affine() -> fl.Flow:
    """A flow that can be the target."""
    return fl.Flow(fl.distributions.StandardNormal(2), fl.bijectors.Affine(2))


def log_target(x: jax.Array) -> jax.Array:
    """A normal density, up to its constant."""
    return -0.5 * jnp.sum(((x - MEAN) / SCALE) ** 2)


def z_scores(flow: fl.Flow) -> np.ndarray:
    """How far the means of samples are from those of the target, in standard errors."""
    x = np.asarray(flow.sample(jax.random.key(1), (4000,)), float)
    return np.abs(x.mean(0) - np.asarray(MEAN)) / (np.asarray(SCALE) / np.sqrt(len(x)))


def test_a_flow_is_fitted_to_a_density():
    """Catches a loop that minimises another thing; the twin is the flow before training."""
    loss = fl.reverse_kl(log_target, num_samples=64)
    result = fl.fit_density(affine(), loss, num_steps=301, num_epochs=10, **COMMON)
    assert len(result.history["train"]) == 10
    expected = -float(jnp.log(2 * jnp.pi * SCALE.prod()))
    assert result.history["train"][result.best_epoch] == pytest.approx(expected, abs=0.05)
    assert (z_scores(result.flow) < 10).all()
    assert (z_scores(affine()) > 20).any()


def test_it_is_the_loop_of_single_steps():
    """Catches another number of steps than asked for, keys that repeat, or another schedule."""
    loss = fl.reverse_kl(log_target, num_samples=8)
    result = fl.fit_density(affine(), loss, num_steps=10, num_epochs=3, patience=None, **COMMON)
    optimizer = fl.AdamW(5e-2)(10)
    step = jax.jit(fl.make_train_step(loss, optimizer))
    state, key, losses = fl.TrainState.create(affine(), optimizer), jax.random.key(0), []
    for epoch, count in enumerate([3, 3, 4]):
        of_epoch = jax.random.fold_in(key, epoch)
        each = []
        for number in range(count):
            state, value = step(state, jax.random.fold_in(of_epoch, 1 + number))
            each.append(float(value))
        losses.append(np.mean(each))
    np.testing.assert_allclose(result.history["train"], losses, rtol=1e-5)


def test_arguments_of_a_loss_are_inputs(compiled: list[str]):
    """Catches a teacher that is a constant, or that is taken for another argument."""
    teacher = jax.tree.map(lambda leaf: leaf + 0.5, affine())
    loss = fl.distillation(num_samples=32)
    settings = COMMON | {"num_steps": 200, "num_epochs": 4}
    result = fl.fit_density(affine(), loss, arguments={"teacher": teacher}, **settings)
    assert result.history["train"][-1] < 0.01 < result.history["train"][0]
    other = jax.tree.map(lambda leaf: leaf + 0.1, teacher)
    compiled.clear()
    moved = fl.fit_density(affine(), loss, arguments={"teacher": other}, **settings)
    assert not compiled, compiled
    assert moved.history["train"] != result.history["train"]
    with pytest.raises(TypeError, match=r"arguments are \[\], and the loss takes .*teacher"):
        fl.fit_density(affine(), loss, **settings)


def test_guards_are_those_of_fit():
    """Catches a loss that is not finite and spoils the parameters without a word."""

    def loss(flow, key):
        value = fl.reverse_kl(log_target, num_samples=8)(flow, key)
        return jnp.where(jax.random.bernoulli(key, 0.1), jnp.nan, value)

    with pytest.warns(RuntimeWarning, match=r"of 100 steps were skipped.*under the parameters"):
        result = fl.fit_density(affine(), loss, num_steps=100, num_epochs=5, **COMMON)
    assert 0 < sum(result.history["skipped"]) < 40
    with pytest.raises(fl.DivergedError, match=r"10 steps in a row.*look for x at which"):
        fl.fit_density(
            affine(),
            lambda flow, key: flow.log_prob(MEAN) * jnp.nan,
            num_steps=100,
            num_epochs=5,
            **COMMON,
        )


@pytest.mark.parametrize("make", [fl.reverse_kl, fl.forward_kl])
def test_log_target_that_is_never_finite_is_named(make):
    """Catches a run that says no more than that its loss was not finite."""
    loss = make(lambda x: jnp.nan * jnp.sum(x), num_samples=8)
    with pytest.raises(fl.DivergedError, match=r"the log target is nan at 8 of 8 samples.*x = \["):
        fl.fit_density(affine(), loss, num_steps=100, **COMMON)


def test_gradient_that_is_not_finite_is_named():
    """Catches a target that is finite, and whose derivative alone stops the run."""

    def root(x):  # finite, and of infinite slope wherever it is flat
        return jnp.where(x[0] > -9.0, -jnp.sqrt(jnp.sum(jnp.zeros_like(x) * x)), 0.0)

    with pytest.raises(fl.DivergedError, match="gradient of the log target is nan at 8 of 8"):
        fl.fit_density(affine(), fl.reverse_kl(root, num_samples=8), num_steps=100, **COMMON)


def test_a_run_goes_on_with_the_same_bits(tmp_path):
    """Catches steps that depend on where the run was cut, and another teacher taken for it."""
    loss = fl.distillation(num_samples=4)
    teacher = jax.tree.map(lambda leaf: leaf + 0.5, affine())
    settings = COMMON | {"num_steps": 20, "num_epochs": 3, "arguments": {"teacher": teacher}}
    whole = fl.fit_density(affine(), loss, **settings)
    checkpoint = fl.Checkpoint(tmp_path, every=7)

    def stop(progress):
        return progress.epoch == 1

    fl.fit_density(affine(), loss, checkpoint=checkpoint, callbacks=[stop], **settings)
    for path in tmp_path.iterdir():
        if path.name != "7":
            shutil.rmtree(path)
    again = fl.fit_density(affine(), loss, checkpoint=tmp_path, **settings)
    assert all(map(np.array_equal, *map(jax.tree.leaves, (whole.flow, again.flow))))
    assert last(tmp_path)[0] == 20
    settings["arguments"] = {"teacher": affine()}
    with pytest.raises(ValueError, match="is of another run: its data was"):
        fl.fit_density(affine(), loss, checkpoint=tmp_path, **settings)


def test_mistakes_are_told():
    """Catches settings that are found wrong deep inside."""
    loss = fl.reverse_kl(log_target, num_samples=8)
    for settings, error, message in (
        ({"num_steps": 0}, ValueError, "num_steps is 0"),
        ({"num_steps": 5, "num_epochs": 1.5}, TypeError, "num_epochs is 1.5"),
        ({"num_steps": 5, "monitor": "validation"}, ValueError, "monitor is 'validation'"),
        ({"num_steps": 5, "arguments": {"x": 1}}, TypeError, "arguments are .'x'."),
        ({"num_steps": 5, "key": None}, TypeError, "key is None"),
    ):
        with pytest.raises(error, match=message):
            fl.fit_density(affine(), loss, **COMMON | settings)
