"""Densities to learn on: constants, samples, symmetries, and models written in another library."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy import stats

from flowjax_lite.inference import latent_log_density, targets
from flowjax_lite.inference.targets import AbstractTarget

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
# A right implementation exceeds this many standard errors once in a million.
LIMIT = 5.0


@pytest.mark.parametrize(
    ("target", "half_width"),
    [
        (targets.Funnel(2), 40.0),
        (targets.DoubleWell(), 8.0),
        (targets.MixtureOf40Gaussians(), 50.0),
        *((targets.RezendeMohamed(potential), 8.0) for potential in (1, 2, 3, 4)),
    ],
)
def test_densities_integrate_to_their_constant(target: AbstractTarget, half_width: float) -> None:
    """Would catch a lost constant; the twin, another density, has another."""
    size = 400
    centres = half_width * ((np.arange(size) + 0.5) / size * 2 - 1)
    if isinstance(target, targets.Funnel):  # what lies in the neck, by the variable that is wide
        v, e = np.meshgrid(centres, centres / 4, indexing="ij")
        points, log_cell = np.stack([v, np.exp(v / 2) * e], axis=-1), v / 2 - math.log(4)
        inside = np.abs(v) < 20
        points, log_cell = points[inside], log_cell[inside]
    else:
        points = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1).reshape(-1, 2)
        log_cell = np.zeros(len(points))
    values = np.asarray(jax.vmap(target)(jnp.asarray(points, jnp.float32)), np.float64)
    measured = np.logaddexp.reduce(values + log_cell) + 2 * math.log(2 * half_width / size)
    assert measured == pytest.approx(target.log_normalizer, abs=1e-3)
    assert np.logaddexp.reduce(0.9 * values + log_cell) != pytest.approx(measured, abs=1e-2)


def test_many_wells_has_the_published_constant() -> None:
    """Would catch another well than that of the literature."""
    assert targets.ManyWells(16).log_normalizer == pytest.approx(164.696, abs=1e-3)
    assert targets.ManyWells(16).dim == 32


def worst_moment(target: AbstractTarget, x: Array) -> float:
    """By how many standard errors samples break E[∇ log p] = 0 and E[x_i ∂_i log p] = -1."""
    score = np.asarray(jax.vmap(jax.grad(target))(x))
    values = np.concatenate([score, np.asarray(x) * score + 1], axis=1)
    errors = values.std(axis=0) / math.sqrt(len(values))
    return float(np.max(np.abs(values.mean(axis=0)) / errors))


@pytest.mark.parametrize(
    "target",
    [
        targets.Funnel(3),
        targets.DoubleWell(),
        targets.ManyWells(2),
        targets.MixtureOf40Gaussians(),
    ],
)
def test_samples_are_of_the_density(target: AbstractTarget) -> None:
    """Would catch a sampler of another density; its twin is 3 % too wide."""
    x = target.sample(0, 20_000)
    assert x.shape == (20_000, target.dim)
    assert worst_moment(target, x) < LIMIT
    assert worst_moment(target, 1.03 * x) > LIMIT


@pytest.mark.parametrize("cluster", [targets.DW4(), targets.LJ13()])
def test_clusters_are_symmetric(cluster: Any, x64: None) -> None:
    """Would catch an energy of the wrong pairs, or coordinates that are not orthonormal."""
    x = jnp.asarray(RNG.normal(size=cluster.dim) * 1.5)
    positions = np.asarray(cluster.positions(x))
    particles, space = positions.shape
    np.testing.assert_allclose(positions.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.sum(positions**2), jnp.sum(x**2))
    energy = 0.0
    for i in range(particles):
        for j in range(i):
            d = np.linalg.norm(positions[i] - positions[j])
            pair = -4 * (d - 4) ** 2 + 0.9 * (d - 4) ** 4 if space == 2 else d**-12 - 2 * d**-6
            energy += pair
    if space == 3:
        energy += 0.5 * np.sum(positions**2)
    np.testing.assert_allclose(cluster(x), -energy, rtol=1e-9)

    turn = np.linalg.qr(RNG.normal(size=(space, space)))[0]
    turned = x.reshape(-1, space) @ turn
    np.testing.assert_allclose(cluster(turned.ravel()), cluster(x), rtol=1e-9)
    assert not np.allclose(cluster(1.01 * turned.ravel()), cluster(x), rtol=1e-6)


Y = RNG.normal(size=12) + np.sin(np.arange(12))
HS = (RNG.uniform(size=12) < 0.5).astype(float)
IQ = 100 + 15 * RNG.normal(size=12)


def eight_schools(p: dict[str, Any]) -> float:
    """Stan's program, by scipy: parameters, not events."""
    y, sigma = targets.EightSchools().y, targets.EightSchools().sigma
    value = stats.norm.logpdf(p["mu"], 0, 5) + stats.cauchy.logpdf(p["tau"], 0, 5)
    for i in range(8):
        theta = p[f"theta[{i + 1}]"]
        value += stats.norm.logpdf((theta - p["mu"]) / p["tau"]) + stats.norm.logpdf(
            y[i], theta, sigma[i]
        )
    return value


def ark(p: dict[str, Any]) -> float:
    """The same."""
    value = stats.norm.logpdf(p["alpha"], 0, 10) + stats.cauchy.logpdf(p["sigma"], 0, 2.5)
    value += sum(stats.norm.logpdf(p[f"beta[{k}]"], 0, 10) for k in (1, 2))
    for t in range(2, 12):
        mean = p["alpha"] + p["beta[1]"] * Y[t - 1] + p["beta[2]"] * Y[t - 2]
        value += stats.norm.logpdf(Y[t], mean, p["sigma"])
    return value


def garch(p: dict[str, Any]) -> float:
    """The same, with the determinant of β₁ by its part of 1 - α₁."""
    sigma = [0.5]
    for t in range(1, 12):
        square = p["alpha0"] + p["alpha1"] * (Y[t - 1] - p["mu"]) ** 2
        sigma.append(math.sqrt(square + p["beta1"] * sigma[-1] ** 2))
    return np.sum(stats.norm.logpdf(Y, p["mu"], sigma)) + math.log(1 - p["alpha1"])


def kidscore(p: dict[str, Any]) -> float:
    """The same."""
    beta = [p[f"beta[{i}]"] for i in (1, 2, 3, 4)]
    mean = beta[0] + beta[1] * HS + beta[2] * IQ + beta[3] * HS * IQ
    likelihood = np.sum(stats.norm.logpdf(90 + Y, mean, p["sigma"]))
    return likelihood + stats.cauchy.logpdf(p["sigma"], 0, 2.5)


@pytest.mark.parametrize(
    ("posterior", "by_scipy"),
    [
        (targets.EightSchools(), eight_schools),
        (targets.ARK(Y, 2), ark),
        (targets.GARCH11(Y), garch),
        (targets.KidScoreInteraction(90 + Y, HS, IQ), kidscore),
    ],
    ids=lambda value: type(value).__name__,
)
def test_posteriors_are_the_models(
    posterior: Any, by_scipy: Callable[[dict[str, Any]], float], x64: None
) -> None:
    """Would catch another prior, lag or parameter; constraints hold for every latent."""
    assert len(posterior.names) == posterior.dim
    for seed in range(3):
        z = jax.random.normal(jax.random.key(seed), (posterior.dim,))
        x = posterior.domains.forward(z)
        values = np.asarray(posterior.parameters(x))
        expected = by_scipy(dict(zip(posterior.names, values, strict=True)))
        np.testing.assert_allclose(posterior(x), expected, rtol=1e-9)
        assert np.isfinite(latent_log_density(posterior.domains, posterior)(z))
    bounded = next(i for i, word in enumerate(posterior.support) if word != "real")
    assert posterior(x.at[bounded].set(-0.1)) == -jnp.inf


def test_targets_compare_by_what_they_are() -> None:
    """Would catch a loss that compiles anew for an equal target, or not for another."""
    assert targets.Funnel(3) == targets.Funnel(3) and targets.Funnel(3) != targets.Funnel(4)
    assert hash(targets.DW4()) == hash(targets.DW4())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: targets.Funnel(1), ValueError, "dim is 1.*at least 2"),
        (lambda: targets.ManyWells(0), ValueError, "num_wells is 0"),
        (lambda: targets.RezendeMohamed(5), ValueError, "potential is 5"),
        (lambda: targets.Funnel(3)(jnp.zeros((2, 3))), ValueError, r"x has shape \(2, 3\)"),
        (lambda: targets.LJ13().sample(0, 3), NotImplementedError, "LJ13 has no exact samples"),
        (lambda: targets.EightSchools([1.0, 2.0], [1.0]), ValueError, r"sigma has shape \(1,\)"),
        (lambda: targets.EightSchools([1.0], [0.0]), ValueError, "least sigma is 0.0"),
        (lambda: targets.GARCH11([1.0, math.nan]), ValueError, r"y\[1\] is not finite"),
        (lambda: targets.ARK([1.0, 2.0]), ValueError, "y has 2 values; expected more than"),
    ],
)
def test_mistakes_are_named(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    """Would catch a mistake that shows itself later, as NaN."""
    with pytest.raises(error, match=message):
        call()


def test_normaliser_within_jit():
    """Would catch a normaliser, found by a sum, that asks a traced value for its number."""
    target = targets.RezendeMohamed(1)
    density = jax.jit(lambda x: target(x) - target.log_normalizer)
    expected = target(jnp.ones(2)) - target.log_normalizer
    np.testing.assert_allclose(density(jnp.ones(2)), expected, rtol=1e-6)
