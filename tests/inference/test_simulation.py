"""Simulations: what is drawn, and what happens to those that fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import flowjax_lite as fl

PRIOR = fl.distributions.Uniform(2, low=-1.0, high=3.0)
simulate = fl.inference.simulate


def noisy(key: Array, theta: Array) -> Array:
    """A simulator in jax."""
    return 10 * theta + jax.random.normal(key, (2,))


def noisy_in_numpy(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    """The same in numpy."""
    return 10 * theta + rng.normal(size=2)


@pytest.mark.parametrize(("simulator", "compiled"), [(noisy, True), (noisy_in_numpy, False)])
def test_rows_belong_together(simulator, compiled: bool) -> None:
    """Would catch a last batch out of place, one noise for all rows, or no prior."""
    theta, x = simulate(PRIOR, simulator, 0, 130, compiled=compiled, batch_size=50, progress=False)
    assert theta.shape == x.shape == (130, 2)
    assert theta.min() > -1 and theta.max() < 3 and theta.mean() == pytest.approx(1.0, abs=0.3)
    noise = x - 10 * theta
    assert noise.std() == pytest.approx(1.0, abs=0.3) and np.abs(noise).max() < 5
    assert len(np.unique(noise)) == noise.size


def test_any_distribution_is_a_prior() -> None:
    """Would catch a prior that must be a base."""
    flow = fl.Flow(PRIOR, fl.bijectors.Identity(2))
    theta, x = simulate(flow, noisy, 0, 10, progress=False)
    assert theta.shape == x.shape == (10, 2)


def sometimes(key: Array, theta: Array) -> Array:
    """NaN for half of the draws."""
    return jnp.where(theta[0] > 1, theta, jnp.nan)


def sometimes_raises(rng: np.random.Generator, theta: np.ndarray) -> float:
    """Fails for half of the draws, and returns a number."""
    if theta[0] < 1:
        raise ArithmeticError("no solution")
    return theta[1]


def test_failures_are_counted() -> None:
    """Would catch rows of failed simulations, or others that go with them."""
    with pytest.warns(RuntimeWarning, match=r"\d+ of 100 simulations failed.*not finite"):
        theta, x = simulate(PRIOR, sometimes, 0, 100, progress=False)
    assert 30 < len(theta) < 70
    np.testing.assert_array_equal(theta, x)
    with pytest.warns(RuntimeWarning, match=r"\d+ of 100 simulations failed.*no solution"):
        theta, x = simulate(PRIOR, sometimes_raises, 1, 100, compiled=False, progress=False)
    np.testing.assert_array_equal(theta[:, 1:], x)
    assert 30 < len(x) < 70 and theta[:, 0].min() >= 1


def raises(rng: np.random.Generator, theta: np.ndarray) -> float:
    """Fails always."""
    raise KeyError("speed")


def changes(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    """Returns as many numbers as it likes."""
    return np.zeros(rng.integers(1, 5))


def test_broken_simulators_are_told() -> None:
    """Would catch a night of simulations of which none is of use."""
    options = {"compiled": False, "progress": False}
    with pytest.raises(ValueError, match=r"all of the first 50 simulations failed.*speed") as info:
        simulate(PRIOR, raises, 0, 10_000, **options)
    assert isinstance(info.value.__cause__, KeyError)
    with pytest.raises(ValueError, match="all of the first 100 simulations failed"):
        simulate(PRIOR, lambda key, theta: theta * jnp.nan, 0, 1000, batch_size=100, progress=False)
    with pytest.raises(ValueError, match="expected one shape for all"):
        simulate(PRIOR, changes, 0, 100, **options)
    with pytest.raises(TypeError, match="compiled=False"):
        simulate(PRIOR, noisy_in_numpy, 0, 100, progress=False)
    with pytest.raises(TypeError, match="real numbers"):
        simulate(PRIOR, lambda rng, theta: "x", 0, 100, **options)
    with pytest.raises(TypeError, match="real numbers"):
        simulate(PRIOR, lambda key, theta: (theta, theta), 0, 100, progress=False)
    with pytest.raises(TypeError, match="prior is a int"):
        simulate(3, noisy, 0, 100, progress=False)


def interrupted(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    """As if the user had lost patience."""
    if theta[0] > 2.5:
        raise KeyboardInterrupt
    return theta


def test_an_interrupt_keeps_what_there_is() -> None:
    """Would catch hours of simulations that Ctrl-C throws away."""
    with pytest.warns(RuntimeWarning, match=r"interrupted after \d+ of 1000"):
        theta, x = simulate(PRIOR, interrupted, 0, 1000, compiled=False, progress=False)
    np.testing.assert_array_equal(theta, x)
    assert 0 < len(x) < 1000
