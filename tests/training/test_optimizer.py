"""The optimizer of `fit`: its schedule, and what it treats in a way of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.core.pytree import named_leaves
from flowjax_lite.training import SCHEDULES


def params() -> nnx.State:
    """Kernels, biases and others, all of them one."""
    base = fl.distributions.DiagonalNormal(2)
    flow = fl.flows.maf(dim=2, num_layers=2, hidden=(4,), base=base, rngs=nnx.Rngs(0))
    return jax.tree.map(jnp.ones_like, nnx.state(flow, nnx.Param))


def updates(optimizer: optax.GradientTransformation, num: int, gradient: float = 1.0) -> list[dict]:
    """The first updates for gradients that are the same everywhere."""
    weights, found = params(), []
    gradients = jax.tree.map(lambda leaf: gradient * leaf, weights)
    state, update = optimizer.init(weights), jax.jit(optimizer.update)
    for _ in range(num):
        change, state = update(gradients, state, weights)
        found.append({name: float(leaf.ravel()[0]) for name, leaf in named_leaves(change).items()})
    return found


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_rises_and_falls(schedule: str):
    """Catches a warm-up that is missing, and a rate that ends elsewhere."""
    settings = fl.AdamW(0.1, schedule=schedule, warmup=0.2, clip=1e9)
    rates = [-next(iter(each.values())) for each in updates(settings(20), 20)]
    ends = {"cosine": 0.0, "linear": 0.0, "exponential": 1e-4, "constant": 0.1}
    np.testing.assert_allclose(rates[:5], [0, 0.025, 0.05, 0.075, 0.1], atol=1e-5)
    assert max(np.diff(rates[4:])) < 1e-5
    step = {"constant": 0.0, "exponential": 1e-4}.get(schedule, 0.1 / 15)
    assert ends[schedule] - 1e-5 <= rates[-1] <= ends[schedule] + step


def test_the_default_is_warmup_and_cosine():
    """Catches a default that differs from what its documentation says: optax's own schedule."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, 1e-3, 5, 100)
    expected = updates(optax.chain(optax.clip_by_global_norm(5.0), optax.adam(schedule)), 12)
    for ours, theirs in zip(updates(fl.AdamW()(100), 12), expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_kernels_alone_decay():
    """Catches biases, and parameters of other kinds, that are drawn to zero."""
    settings = {"schedule": "constant", "warmup": 0.0}
    plain = updates(fl.AdamW(0.1, **settings)(9), 2)[1]
    decayed = updates(fl.AdamW(0.1, weight_decay=0.5, **settings)(9), 2)[1]
    changed = {name for name in plain if decayed[name] != pytest.approx(plain[name])}
    assert changed == {name for name in plain if name.endswith("kernel")}
    assert len(changed) < len(plain)


def test_rates_of_groups():
    """Catches a factor on other parameters, or on the gradient, where Adam would undo it."""
    settings = {"schedule": "constant", "warmup": 0.0}
    plain = updates(fl.AdamW(0.1, **settings)(9), 2)[1]
    slower = updates(fl.AdamW(0.1, rates=(("base", 0.1),), **settings)(9), 2)[1]
    for name in plain:
        factor = 0.1 if name.startswith("base/") else 1.0
        assert slower[name] == pytest.approx(factor * plain[name], rel=1e-5)
    with pytest.raises(ValueError, match="rates names 'bases', and no parameter's name begins so"):
        fl.AdamW(rates=(("bases", 0.1),))(9).init(params())


def test_gradients_are_accumulated():
    """Catches updates at every step, and a schedule that counts batches."""
    found = updates(fl.AdamW(0.1, accumulate=3, schedule="linear", warmup=0.0)(9), 9)
    rates = [-next(iter(each.values())) for each in found]
    assert [rate != 0 for rate in rates] == [False, False, False, False, False, True] + [
        False,
        False,
        True,
    ]
    assert updates(fl.AdamW(accumulate=1)(9), 3) == updates(fl.AdamW()(9), 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "cosin"}, "schedule is 'cosin'"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"clip": -1.0}, "clip is -1.0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"warmup": 1.0}, "warmup is 1.0"),
        ({"accumulate": 0}, "accumulate is 0"),
    ],
)
def test_mistakes_are_named(settings: dict, message: str):
    """Catches a setting out of range that trains nothing."""
    with pytest.raises(ValueError, match=message):
        fl.AdamW(**settings)
