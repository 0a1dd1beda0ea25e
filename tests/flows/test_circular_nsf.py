"""Spline couplings on tori: densities without a seam, with real numbers beside angles."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from helpers.grid import agreement, density_and_flipped
from jax import Array
from scipy import stats

from flowjax_lite import bijectors as b
from flowjax_lite import load, save
from flowjax_lite.distributions import Flow
from flowjax_lite.flows import circular_nsf


def small(dim: int, **settings: object) -> Flow:
    """A small one, moved off its beginning as training would move it."""
    flow = circular_nsf(
        **{"dim": dim, "num_layers": 2, "hidden": (8,), "num_bins": 3, "activation": "tanh"}
        | settings,
        rngs=nnx.Rngs(0),
    )
    return randomised(flow, scale=0.35)


def uniform(num: int, dim: int) -> np.ndarray:
    """Angles (num, dim) in float64."""
    return np.random.default_rng(0).uniform(-math.pi, math.pi, size=(num, dim))


@pytest.mark.parametrize(
    ("circular", "ends"),
    [(None, (math.pi, math.pi)), ((0,), (math.pi, 8.0)), ((1,), (8.0, math.pi))],
)
def test_samples_follow_a_density_of_mass_one(
    circular: tuple[int, ...] | None, ends: tuple[float, float]
):
    """Catches a wrong log-determinant, order or base; the flipped twin must be caught."""
    model = small(2, circular=circular)
    mass, wrong = density_and_flipped(model, ends, 600)
    assert abs(mass.sum() - 1) < 2e-3
    assert abs(wrong.sum() - 1) > 2e-2
    assert mass.max() > 3 * mass.mean()  # far from uniform
    samples = np.asarray(jax.jit(lambda key: model.sample(key, (20_000,)))(jax.random.key(0)))
    if circular is None:
        assert np.all(np.abs(samples) <= np.float32(math.pi))
    assert agreement(samples, mass, ends) > 1e-3
    assert agreement(samples, wrong, ends) < 1e-6


@pytest.mark.parametrize("column", [0, 1])
def test_there_is_no_seam(column: int, x64: None):
    """Catches a density, or a gradient of it, that jumps at ±π; the twin, real numbers, does."""
    x = uniform(50, 2)
    x[:, column] = math.pi
    shift = np.eye(2)[column]

    def jump(circular: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        score = jax.jit(jax.vmap(jax.value_and_grad(small(2, circular=circular).log_prob)))
        ends = (x - 1e-9 * shift, x + (1e-9 - 2 * math.pi) * shift)
        (below, slope_below), (above, slope_above) = (score(jnp.asarray(end)) for end in ends)
        return np.abs(above - below), np.abs(slope_above - slope_below)

    value, slope = jump((0, 1))
    assert np.max(value) < 1e-6
    # The density has a kink at a knot, but the other column's slope is continuous.
    assert np.max(slope[:, 1 - column]) < 1e-5
    value, slope = jump((1 - column,))
    assert np.median(value) > 1e-2
    assert np.median(slope[:, 1 - column]) > 1e-3


def test_full_turns_change_nothing(x64: None):
    """Catches an angle that a network sees as a number, or one of another convention."""
    model, x = small(3, circular=(0, 2)), uniform(50, 3)
    log_prob = jax.jit(model.log_prob)
    turned = x + 2 * math.pi * np.random.default_rng(1).integers(-2, 3, size=(50, 3)) * [1, 0, 1]
    np.testing.assert_allclose(log_prob(turned), log_prob(x), atol=1e-9)
    turned = x + [0, 2 * math.pi, 0]
    assert np.median(np.abs(log_prob(turned) - log_prob(x))) > 1e-2


@pytest.mark.parametrize("condition_dim", [None, 2])
def test_starts_uniform_and_normal(condition_dim: int | None):
    """Catches a layer that does not start as the identity, or a base in the wrong column."""
    model = circular_nsf(
        dim=4, circular=(3, 1), condition_dim=condition_dim, hidden=(8,), rngs=nnx.Rngs(0)
    )
    x = uniform(20, 4).astype(np.float32)
    condition = None if condition_dim is None else np.ones(condition_dim, np.float32)
    expected = stats.norm.logpdf(x[:, [0, 2]]).sum(axis=1) - 2 * math.log(2 * math.pi)
    log_prob = jax.jit(lambda x: model.log_prob(x, condition))
    np.testing.assert_allclose(log_prob(x), expected, rtol=1e-5)


def test_float32_is_accurate():
    """Catches a formula that cancels: errors beyond rounding after eight layers."""
    model = circular_nsf(dim=6, circular=(0, 2, 3), num_layers=8, hidden=(32, 32), rngs=nnx.Rngs(0))
    bijector = randomised(model, scale=0.02).bijector
    z = jnp.asarray(uniform(20, 6), jnp.float32)

    @jax.jit
    def evaluate(z: Array) -> tuple[Array, ...]:
        x, log_det = jax.vmap(bijector.forward_and_log_det)(z)
        return log_det, *jax.vmap(bijector.inverse_and_log_det)(x)

    log_det, back, back_log_det = evaluate(z)
    angles, reals = np.split(np.asarray(back - z), 2, axis=1)
    turns = np.round(angles / (2 * math.pi))
    assert np.max(np.abs([angles - 2 * math.pi * turns, reals])) <= 1e-5 * math.pi
    np.testing.assert_allclose(back_log_det, -log_det, rtol=0, atol=2e-5)
    assert np.max(np.abs(log_det)) > 0.1  # not the identity


def test_a_data_map_keeps_angles_and_a_file_keeps_both(tmp_path: Path):
    """Catches angles that are scaled with the real numbers, and a recipe that loses columns."""
    x = uniform(200, 3) * [1.0, 100.0, 1.0] + [0.0, 500.0, 0.0]
    standardize = b.Standardize.from_data(x, keep=(0, 2))
    model = circular_nsf(
        dim=3, circular=(0, 2), num_layers=2, hidden=(4,), data_map=standardize, rngs=nnx.Rngs(0)
    )
    rows = jnp.asarray(x[:5], jnp.float32)
    expected = stats.norm.logpdf(x[:5, 1], x[:, 1].mean(), x[:, 1].std())
    log_prob = jax.jit(lambda model, x: model.log_prob(x))
    np.testing.assert_allclose(
        log_prob(model, rows), expected - 2 * math.log(2 * math.pi), rtol=1e-4
    )
    moved = randomised(model)
    save(tmp_path / "torus.safetensors", moved)
    loaded = load(tmp_path / "torus.safetensors")
    assert nnx.graphdef(loaded) == nnx.graphdef(moved)
    np.testing.assert_array_equal(log_prob(loaded, rows), log_prob(moved, rows))
