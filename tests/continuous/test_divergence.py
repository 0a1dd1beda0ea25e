"""The three ways to find a divergence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from flowjax_lite.continuous import AbstractDivergence, Exact, Hutchinson, HutchPlusPlus

SIZE, DRAWS = 5, 4000
MATRIX = np.eye(SIZE) + np.random.default_rng(0).normal(size=(SIZE, SIZE))


def velocity(x: Array) -> Array:
    """A map with the Jacobian diag(cos x) · MATRIX at 0, that is MATRIX."""
    return jnp.sin(jnp.matmul(jnp.asarray(MATRIX, x.dtype), x, precision="highest"))


def estimates(divergence: AbstractDivergence, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Divergence and squared norm, estimated with many keys."""

    def estimate(key: Array) -> tuple[Array, Array]:
        x = jnp.zeros(SIZE)
        flux = divergence.evaluate(
            lambda x: scale * velocity(x), x, divergence.probes(key, SIZE, x.dtype)
        )
        return flux.divergence, flux.squared_norm

    keys = jax.random.split(jax.random.key(0), DRAWS)
    return tuple(map(np.asarray, jax.jit(jax.vmap(estimate))(keys)))


def distance(values: np.ndarray, expected: float) -> float:
    """How many standard errors the mean is from a number."""
    return abs(values.mean() - expected) / (values.std() / np.sqrt(len(values)) + 1e-6)


RANDOM = [
    Hutchinson(),
    Hutchinson(3),
    Hutchinson(2, "gaussian"),
    HutchPlusPlus(1),
    HutchPlusPlus(2),
]


@pytest.mark.parametrize("divergence", RANDOM, ids=str)
def test_estimates_are_unbiased(divergence: AbstractDivergence):
    """Catches a bias: the mean over many probes is the trace; twin: of another map it is not."""
    traces, norms = estimates(divergence)
    assert distance(traces, np.trace(MATRIX)) < 4.5
    assert distance(norms, np.sum(MATRIX**2)) < 4.5
    wrong, _ = estimates(divergence, scale=1.2)
    assert distance(wrong, np.trace(MATRIX)) > 4.5


def test_variance_is_the_documented_one():
    """Catches probes of another size or kind: their variance is known."""
    symmetric = (MATRIX + MATRIX.T) / 2
    total = 2 * np.sum(symmetric**2)
    signs = total - 2 * np.sum(np.diag(symmetric) ** 2)
    for num_probes in (1, 4):
        for noise, variance in (("rademacher", signs), ("gaussian", total)):
            values, _ = estimates(Hutchinson(num_probes, noise))
            # The variance of 4000 draws is good to about 5 %.
            assert np.var(values) == pytest.approx(variance / num_probes, rel=0.2)


def test_hutch_plus_plus_reduces_the_variance():
    """Catches a basis that is not that of the Jacobian's range: rank two needs two directions."""
    rng = np.random.default_rng(1)
    low_rank = jnp.asarray(rng.normal(size=(20, 2)) @ rng.normal(size=(2, 20)), jnp.float32)

    def estimate(divergence: AbstractDivergence, key: Array) -> Array:
        x = jnp.zeros(20)
        probes = divergence.probes(key, 20, x.dtype)
        function = lambda x: jnp.matmul(low_rank, x, precision="highest")  # noqa: E731
        return divergence.evaluate(function, x, probes).divergence

    keys = jax.random.split(jax.random.key(0), 100)
    for divergence, error in ((HutchPlusPlus(2), 1e-3), (Hutchinson(6), None)):
        values = jax.vmap(lambda key, d=divergence: estimate(d, key))(keys)
        worst = np.max(np.abs(values - np.trace(low_rank)))
        assert worst < error if error else worst > 1.0


def test_exact_trace_and_norm():
    """Catches a wrong trace, and products that are not of the Jacobian."""
    x = jnp.linspace(-1.0, 1.0, SIZE)
    exact = Exact()
    flux = exact.evaluate(velocity, x, exact.probes(jax.random.key(0), SIZE, x.dtype))
    jacobian = jax.jacrev(velocity)(x)
    np.testing.assert_allclose(flux.velocity, velocity(x), rtol=1e-6)
    np.testing.assert_allclose(flux.divergence, jnp.trace(jacobian), rtol=1e-5)
    np.testing.assert_allclose(flux.squared_norm, jnp.sum(jacobian**2), rtol=1e-5)


def test_more_directions_than_entries_are_exact():
    """Catches an estimate that breaks down where its basis spans everything."""
    values, norms = estimates(HutchPlusPlus(SIZE + 2))
    np.testing.assert_allclose(values[:50], np.trace(MATRIX), rtol=1e-4)
    np.testing.assert_allclose(norms[:50], np.sum(MATRIX**2), rtol=1e-4)


def test_gradients_where_nothing_moves():
    """Catches the derivative of a basis of zeros, which is NaN: flows start there."""

    def divergence(scale: Array) -> Array:
        estimate = HutchPlusPlus(1)
        probes = estimate.probes(jax.random.key(0), SIZE, jnp.float32)
        return estimate.evaluate(lambda x: scale * x, jnp.ones(SIZE), probes).divergence

    assert jax.grad(divergence)(0.0) == pytest.approx(SIZE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hutchinson(0), "num_probes is 0; expected a whole number of at least 1"),
        (lambda: Hutchinson(noise="uniform"), "noise is 'uniform'; expected one of 'rademacher'"),
        (lambda: HutchPlusPlus(0), "num_probes is 0; expected a whole number of at least 1"),
    ],
)
def test_mistakes_are_named(make, message):
    """Catches settings that make no estimate."""
    with pytest.raises(ValueError, match=message):
        make()
