"""The mode and the curvature of a density: known normals, constraints, and what has no mode."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import flowjax_lite as fl
from flowjax_lite.inference import laplace, latent_log_density, targets

RNG = np.random.default_rng(0)
ROOT = np.tril(RNG.normal(size=(4, 4))) * np.array([1e-2, 1.0, 1.0, 1e2])[:, None]
COVARIANCE = ROOT @ ROOT.T
MODE = np.array([1e-2, -3.0, 5.0, 300.0])


def normal(x: Array) -> Array:
    """A normal density of entries with very different units."""
    return -0.5 * jnp.sum((jnp.linalg.inv(ROOT).astype(x.dtype) @ (x - MODE)) ** 2)


def test_normal_density_is_found_exactly(dtype: np.dtype) -> None:
    """Would catch a transposed factor, or an entry whose unit is left out: the twin, its root."""
    start = laplace(normal, jnp.zeros(4))
    tril = np.asarray(start.tril[...], np.float64)
    tolerance = 1e-8 if dtype == np.float64 else 2e-3
    sd = np.sqrt(np.diag(COVARIANCE))
    np.testing.assert_allclose(np.asarray(start.loc[...]) / sd, MODE / sd, atol=tolerance * 10)
    relative = tril @ tril.T / np.outer(sd, sd)
    np.testing.assert_allclose(relative, COVARIANCE / np.outer(sd, sd), atol=tolerance)
    assert not np.allclose(tril.T @ tril / np.outer(sd, sd), relative, atol=0.1)


def curved(x: Array) -> Array:
    """Rosenbrock's valley: not concave where the search begins, its mode at (1, 1)."""
    return -((1 - x[0]) ** 2) - 20 * (x[1] - x[0] ** 2) ** 2


def test_search_climbs_through_a_valley() -> None:
    """Would catch steps that go down where the density curves upwards."""
    start = laplace(curved, jnp.array([-1.5, 2.0]))
    np.testing.assert_allclose(start.loc[...], 1.0, atol=2e-2)
    hessian = np.linalg.inv(-np.asarray(jax.hessian(curved)(jnp.ones(2))))
    np.testing.assert_allclose(start.tril[...] @ start.tril[...].T, hessian, rtol=0.1)


def test_constraints_by_a_chain() -> None:
    """Would catch a chain in the wrong order: the start, then the domains."""
    domains = fl.bijectors.Domains(["positive"])
    log_p = latent_log_density(domains, lambda x: 4 * jnp.log(x[0]) - 2 * x[0])  # Gamma(5, 2)
    start = laplace(log_p, jnp.zeros(1))
    to_data = fl.bijectors.Chain([start, domains])
    assert float(to_data.forward(jnp.zeros(1))[0]) == pytest.approx(5 / 2, rel=1e-3)
    # The curvature of the logarithm's density is the shape, 5.
    assert float(start.tril[...][0, 0]) == pytest.approx(5**-0.5, rel=1e-3)


def test_posteriors_have_a_start() -> None:
    """Would catch a search that real correlations or units break."""
    hs = (RNG.uniform(size=200) < 0.7).astype(float)
    iq = 100 + 15 * RNG.normal(size=200)
    score = 20 + 5 * hs + 0.6 * iq + 18 * RNG.normal(size=200)
    posterior = targets.KidScoreInteraction(score, hs, iq)
    log_p = latent_log_density(posterior.domains, posterior)
    mode = laplace(log_p, jnp.zeros(5)).loc[...]
    columns = np.stack([np.ones(200), hs, iq, hs * iq], axis=1)
    fitted = columns @ np.linalg.lstsq(columns, score)[0]
    np.testing.assert_allclose(columns @ np.asarray(mode)[:4], fitted, atol=0.2)


def test_flat_direction_is_told() -> None:
    """Would catch an infinite width that nobody hears of."""
    with pytest.warns(RuntimeWarning, match="1 of 2 directions"):
        start = laplace(lambda x: -(x[0] ** 2) / 2 - x[1] ** 4, jnp.array([1.0, 0.0]))
    # x⁴ is a half at 0.84.
    assert float(start.tril[...][1, 1]) == pytest.approx(0.84, rel=0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        laplace(lambda x: -(x[0] ** 2) / 2 - x[1] ** 2, jnp.ones(2))


@pytest.mark.parametrize(
    ("log_density", "x0", "message"),
    [
        (lambda x: jnp.nan * jnp.sum(x), jnp.ones(2), r"log_density is nan at x0 = \[1. 1.\]"),
        (lambda x: jnp.sum(jnp.log(x)), jnp.zeros(2), "log_density is -inf at x0"),
        (lambda x: -jnp.linalg.norm(x), jnp.zeros(2), "gradient of log_density is nan"),
        (lambda x: jnp.sum(x), jnp.zeros(2), "no mode was reached.*still climbs"),
        (lambda x: -(x**2), jnp.zeros(2), "expected a scalar"),
        (lambda x: -jnp.sum(x**2), jnp.zeros((1, 2)), r"x0 has shape \(1, 2\)"),
    ],
)
def test_densities_without_a_start_are_named(
    log_density: Callable[[Array], Any], x0: Array, message: str
) -> None:
    """Would catch a search that returns NaN, or where it happens to stand."""
    with pytest.raises(ValueError, match=message):
        laplace(log_density, x0, max_steps=20)
