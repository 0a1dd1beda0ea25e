"""Calibration of posteriors: flat where they are exact, and not where they are off."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from flowjax_lite.diagnostics import Ranks, c2st, expected_coverage, sbc_ranks, tarp

ROWS, DIM = 600, 3
KEY = jax.random.key(0)
Test = Callable[..., Ranks]
TESTS = [sbc_ranks, expected_coverage, tarp]


@dataclasses.dataclass(frozen=True)
class Posterior:
    """Of theta from N(0, 1) given x from N(theta, 1): N(x / 2, 1 / 2), made wider or moved."""

    width: float = 1.0
    shift: float = 0.0
    event_shape: tuple[int, ...] = (DIM,)
    condition_shape: tuple[int, ...] = (DIM,)

    def sample(self, key: Array, shape: int, condition: Array) -> Array:
        """Samples, (shape, rows, DIM)."""
        noise = jax.random.normal(key, (shape, *jnp.shape(condition)))
        return condition[None] / 2 + self.shift + self.width * jnp.sqrt(0.5) * noise

    def log_prob(self, x: Array, condition: Array) -> Array:
        """Log-densities, up to a constant."""
        return -((x - condition / 2 - self.shift) ** 2).sum(axis=-1) / self.width**2


class Prior(Posterior):
    """The prior, whatever x."""

    def sample(self, key: Array, shape: int, condition: Array) -> Array:
        return jax.random.normal(key, (shape, *jnp.shape(condition)))

    def log_prob(self, x: Array, condition: Array) -> Array:
        return -(x**2).sum(axis=-1) / 2


@pytest.fixture(scope="module")
def draws() -> tuple[Array, Array]:
    """theta and x."""
    theta, noise = jax.random.normal(KEY, (2, ROWS, DIM))
    return theta, theta + noise


@pytest.mark.parametrize("test", TESTS)
def test_the_exact_posterior_is_flat(test: Test, draws: tuple[Array, Array]) -> None:
    """Would catch ranks that are off by one, or a p-value of another distribution."""
    result = test(Posterior(), *draws, key=1)
    assert result.ranks.min() >= 0 and result.ranks.max() <= 99
    assert result.p_value > 1e-3
    np.testing.assert_allclose(result.coverage([0.0, 0.5, 1.0])[1], 0.5, atol=0.1)


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("width", [1.3, 1 / 1.3])
def test_wrong_widths_are_noticed(test: Test, width: float, draws: tuple[Array, Array]) -> None:
    """The twin: would catch a test too weak to see a posterior 1.3 times too wide or narrow."""
    assert test(Posterior(width), *draws, key=1).p_value < 1e-6


@pytest.mark.parametrize("test", [sbc_ranks, expected_coverage])  # balls around look from all sides
def test_wrong_means_are_noticed(test: Test, draws: tuple[Array, Array]) -> None:
    """Would catch a test that sees widths alone."""
    assert test(Posterior(shift=0.4), *draws, key=1).p_value < 1e-6


def test_width_has_its_sign(draws: tuple[Array, Array]) -> None:
    """Would catch coverage of what lies outside the region instead of inside."""
    wide, narrow = (expected_coverage(Posterior(w), *draws, key=1) for w in (1.3, 1 / 1.3))
    assert wide.coverage([0.5]) > 0.6 > 0.4 > narrow.coverage([0.5])


def test_p_values_are_uniform() -> None:
    """Would catch p-values that reject an exact posterior too often, or never."""
    rng = np.random.default_rng(0)
    p = Ranks(rng.integers(0, 100, (500, 400)), 99).p_values
    assert 0.02 < (p < 0.05).mean() < 0.09
    assert 0.4 < (p < 0.5).mean() < 0.62


def test_the_prior_is_told_by_references_that_depend_on_x(draws: tuple[Array, Array]) -> None:
    """What the docstrings say: the prior passes all but TARP with references of one's own."""
    for test in TESTS:
        assert test(Prior(), *draws, key=1).p_value > 1e-3
    references = draws[1] / 2
    assert tarp(Prior(), *draws, key=1, references=references).p_value < 1e-6
    assert tarp(Posterior(), *draws, key=1, references=references).p_value > 1e-3


def test_bad_draws_are_named(draws: tuple[Array, Array]) -> None:
    """Would catch ranks of numbers that are none, or of rows that belong to others."""
    theta, x = draws
    for wrong, words in (
        ((theta, x[1:]), "as many rows"),
        ((theta[:, :2], x), r"theta has shape \(600, 2\)"),
        ((theta.at[3].set(jnp.nan), x), r"theta\[3\] is not finite"),
        ((theta, x.at[7].set(jnp.inf)), r"x\[7\] is not finite"),
        ((theta[:5], x[:5]), "there are 5 rows"),
    ):
        with pytest.raises(ValueError, match=words):
            sbc_ranks(Posterior(), *wrong, key=1)
    with pytest.raises(ValueError, match="references has shape"):
        tarp(Posterior(), theta, x, key=1, references=theta[0])
    with pytest.raises(ValueError, match=r"samples for x\[0\]"):
        sbc_ranks(Posterior(width=jnp.nan), theta, x, key=1)
    with pytest.raises(ValueError, match="takes no condition"):
        sbc_ranks(dataclasses.replace(Posterior(), condition_shape=None), theta, x, key=1)


def test_c2st_tells_another_mean() -> None:
    """Would catch a classifier that does not learn, and by its twin one that tells noise apart."""
    rng = np.random.default_rng(0)
    reference, same = rng.normal(5.0, 3.0, (2, 100, 1))
    assert c2st(reference, same + 6.0) > 0.7
    assert c2st(reference, same) < 0.62


def test_c2st_names_bad_samples() -> None:
    """Would catch an accuracy of 1 for NaN, constants or numbers of rows."""
    rows = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match=r"samples has shape \(19, 2\)"):
        c2st(rows, rows[1:])
    with pytest.raises(ValueError, match="not finite"):
        c2st(rows, np.full_like(rows, np.nan))
    with pytest.raises(ValueError, match=r"reference\[:, 1\] is constant"):
        c2st(rows * [1.0, 0.0], rows)
