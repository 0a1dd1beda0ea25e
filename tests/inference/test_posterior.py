"""Posterior estimation on a conjugate model, whose posterior is known, and what is built on it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array

import flowjax_lite as fl
from flowjax_lite.distributions import Density

PRIOR = fl.distributions.StandardNormal(2)
NOISE = 0.5
OBSERVATION = jnp.array([1.0, -0.5])
# Of theta from N(0, 1) given x from N(theta, NOISE²).
MEAN, SD = OBSERVATION / (1 + NOISE**2), NOISE / np.sqrt(1 + NOISE**2)


def simulator(key: Array, theta: Array) -> Array:
    """Normal noise."""
    return theta + NOISE * jax.random.normal(key, (2,))


@pytest.fixture(scope="module")
def draws() -> tuple[np.ndarray, np.ndarray]:
    """theta and x."""
    return fl.inference.simulate(PRIOR, simulator, 0, 2000, progress=False)


def untrained() -> fl.Flow:
    """A small flow of theta given x, or of x given theta."""
    return fl.flows.maf(dim=2, condition_dim=2, num_layers=1, hidden=(16,), rngs=nnx.Rngs(0))


OPTIONS = {"key": 1, "max_epochs": 30, "learning_rate": 1e-2, "progress": False}


@pytest.fixture(scope="module")
def trained(draws: tuple[np.ndarray, np.ndarray]) -> fl.Flow:
    """The posterior."""
    theta, x = draws
    return fl.fit(untrained(), theta, condition=x, **OPTIONS).flow


def distance(theta: Array) -> float:
    """How far the mean and the spread of samples are from those of the posterior, in its sds."""
    mean, spread = theta.mean(axis=0), theta.std(axis=0)
    return float(max(jnp.abs(mean - MEAN).max(), jnp.abs(spread - SD).max()) / SD)


def test_conjugate_posterior_is_recovered(trained: fl.Flow) -> None:
    """Would catch conditions that are not those of their rows; the twins are further off."""
    at = fl.inference.posterior(trained, OBSERVATION)
    assert distance(at.sample(2, 4000)) < 0.2
    assert distance(PRIOR_FLOW.sample(2, 4000)) > 0.5
    assert distance(fl.inference.posterior(trained, -OBSERVATION).sample(2, 4000)) > 0.5


PRIOR_FLOW = fl.Flow(PRIOR, fl.bijectors.Identity(2))


def test_posterior_is_the_flow_at_the_observation(trained: fl.Flow) -> None:
    """Would catch a posterior at another observation, and the predictive check that it is for."""
    at = fl.inference.posterior(trained, OBSERVATION)
    theta = at.sample(0, (3, 5))
    np.testing.assert_array_equal(at.log_prob(theta), trained.log_prob(theta, OBSERVATION))
    _, x = fl.inference.simulate(at, simulator, 1, 1000, progress=False)
    below = (x < np.asarray(OBSERVATION)).mean(axis=0)
    assert ((below > 0.2) & (below < 0.8)).all()


def test_trained_posterior_is_calibrated(draws: tuple[np.ndarray, np.ndarray], trained: fl.Flow):
    """Would catch ranks of a real flow that belong to other rows: shuffled ones are noticed."""
    theta, x = fl.inference.simulate(PRIOR, simulator, 5, 300, progress=False)
    for test in (fl.diagnostics.sbc_ranks, fl.diagnostics.expected_coverage, fl.diagnostics.tarp):
        assert test(trained, theta, x, key=0).p_value > 1e-4
        assert test(trained, theta, x[::-1], key=0).p_value < 1e-6


def test_truncated_prior_holds_the_posterior(trained: fl.Flow) -> None:
    """Would catch a threshold on the wrong side, or a rate of acceptance that is none."""
    cut = fl.inference.truncated_prior(trained, PRIOR, OBSERVATION, key=0, num_samples=1000)
    theta = cut.sample(1, (20, 50))
    assert theta.shape == (20, 50, 2)
    exact = np.asarray(MEAN) + SD * np.random.default_rng(0).normal(size=(1000, 2))
    log_p = cut.log_prob(exact)
    assert (log_p > -jnp.inf).mean() > 0.98  # next to all of the posterior is inside
    inside = np.asarray(log_p) > -np.inf
    expected = PRIOR_FLOW.log_prob(exact) - np.log(cut.acceptance)
    np.testing.assert_allclose(log_p[inside], expected[inside], rtol=1e-5)
    assert (cut.log_prob(theta) > -jnp.inf).all()
    draws = np.random.default_rng(1).normal(size=(1000, 2))
    assert (cut.log_prob(draws) > -jnp.inf).mean() == pytest.approx(cut.acceptance, abs=0.06)
    assert cut.acceptance < 0.7


def test_rounds_keep_the_plain_loss(draws: tuple[np.ndarray, np.ndarray], trained: fl.Flow) -> None:
    """Would catch a truncation that moves the posterior: rounds of half the rows each."""
    theta, x = (rows[:1000] for rows in draws)
    cut = fl.inference.truncated_prior(trained, PRIOR, OBSERVATION, key=0, num_samples=1000)
    more = fl.inference.simulate(cut, simulator, 1, 1000, progress=False)
    theta, x = np.concatenate([theta, more[0]]), np.concatenate([x, more[1]])
    flow = fl.fit(untrained(), theta, condition=x, **OPTIONS).flow
    assert distance(flow.sample(2, 4000, OBSERVATION)) < 0.25


def test_atoms_correct_for_the_proposal() -> None:
    """Would catch a prior that is left out of the ratio; the plain loss is the twin."""
    rng = np.random.default_rng(0)
    theta = (np.sqrt(0.5) * rng.normal(size=(2000, 2))).astype(np.float32)  # no draws of the prior
    x = (theta + NOISE * rng.normal(size=theta.shape)).astype(np.float32)
    loss = fl.losses.atomic_loss(PRIOR, num_atoms=8)
    flow = fl.fit(untrained(), theta, condition=x, loss=loss, **OPTIONS).flow
    plain = fl.fit(untrained(), theta, condition=x, **OPTIONS).flow
    observation = jnp.array([1.0, 1.0])
    exact = np.asarray(observation) / (1 + NOISE**2)
    off = [np.abs(f.sample(2, 4000, observation).mean(axis=0) - exact).max() for f in (flow, plain)]
    assert off[0] < 0.1 < off[1]


def test_atoms_are_the_rows_that_have_weight() -> None:
    """Would catch padding that is an atom, or a ratio in another direction: by hand, of all."""
    theta, x = jax.random.normal(jax.random.key(0), (2, 8, 2))
    loss = fl.losses.atomic_loss(PRIOR, num_atoms=8)
    flow, weights = untrained(), jnp.array([1.0] * 5 + [0.0] * 3)
    filled = loss(flow, theta.at[5:].set(jnp.nan), x, weights, jax.random.key(1))
    pairs = flow.log_prob(theta[:, None], x) - PRIOR_FLOW.log_prob(theta)[:, None]
    ratio = np.asarray(pairs)[:5, :5] + 0.0
    expected = np.mean(np.log(np.exp(ratio).sum(axis=0)) - np.diag(ratio))
    np.testing.assert_allclose(filled, expected, rtol=1e-5)
    assert fl.losses.atomic_loss(PRIOR, num_atoms=8) == loss


def test_learned_likelihood_is_a_target(draws: tuple[np.ndarray, np.ndarray]) -> None:
    """Would catch a prior that is left out, or several observations that do not add up."""
    theta, x = draws
    flow = fl.fit(untrained(), x, condition=theta, **OPTIONS).flow
    observations = jnp.stack([OBSERVATION, OBSERVATION + 0.2])
    grid = jnp.stack(jnp.meshgrid(*[jnp.linspace(-3, 3, 61)] * 2), axis=-1).reshape(-1, 2)
    for given, number in ((OBSERVATION, 1), (observations, 2)):
        log_p = jax.vmap(fl.inference.likelihood_target(flow, PRIOR, given))(grid)
        weights = jax.nn.softmax(log_p)
        mean = (weights[:, None] * grid).sum(axis=0)
        exact = jnp.atleast_2d(given).sum(axis=0) / (number + NOISE**2)
        np.testing.assert_allclose(mean, exact, atol=0.1)
    outside = fl.inference.likelihood_target(flow, fl.distributions.Uniform(2), OBSERVATION)
    value, slope = jax.value_and_grad(outside)(jnp.array([2.0, 0.5]))
    assert value == -jnp.inf and jnp.isfinite(slope).all()


def test_leakage_is_measured(trained: fl.Flow) -> None:
    """Would catch a fraction of what stays, or of another observation."""
    box = fl.distributions.Uniform(2, low=float(MEAN[1]), high=9.0)
    assert fl.inference.leakage(trained, box, OBSERVATION, key=0) == pytest.approx(0.5, abs=0.1)
    assert fl.inference.leakage(trained, PRIOR, OBSERVATION, key=0) == 0


@dataclasses.dataclass(frozen=True)
class Box:
    """A density of theta on a unit square, whatever x."""

    low: float
    event_shape: tuple[int, ...] = (2,)
    condition_shape: tuple[int, ...] = (2,)

    def sample(self, key: Array, shape: int, condition: Array) -> Array:
        """Samples, (shape, 2)."""
        return self.low + jax.random.uniform(key, (shape, 2))

    def log_prob(self, x: Array, condition: Array) -> Array:
        """Log-densities, 0 or -inf."""
        inside = ((x > self.low) & (x < self.low + 1)).all(axis=-1)
        return jnp.where(inside, 0.0, -jnp.inf)


def test_bad_input_is_named(trained: fl.Flow) -> None:
    """Would catch an observation or a prior of something else, which gives numbers all the same."""
    inference = fl.inference
    with pytest.raises(ValueError, match=r"condition has shape \(3,\)"):
        inference.posterior(trained, jnp.zeros(3))
    with pytest.raises(ValueError, match="expected finite numbers"):
        inference.posterior(trained, [0.0, np.nan])
    with pytest.raises(ValueError, match="takes no condition"):
        inference.posterior(PRIOR_FLOW, OBSERVATION)
    with pytest.raises(ValueError, match="two distributions of the same theta"):
        inference.leakage(trained, fl.distributions.Uniform(3), OBSERVATION, key=0)
    with pytest.raises(ValueError, match="prior takes conditions"):
        inference.leakage(trained, trained, OBSERVATION, key=0)
    with pytest.raises(ValueError, match="expected finite numbers"):
        inference.likelihood_target(trained, PRIOR, [0.0, np.nan])
    with pytest.raises(ValueError, match="observation has shape"):
        inference.likelihood_target(trained, PRIOR, jnp.zeros(3))
    with pytest.raises(ValueError, match="a flow of x given theta"):
        inference.likelihood_target(trained, fl.distributions.Uniform(3), OBSERVATION)
    uniform = fl.distributions.Uniform(2)
    with pytest.raises(ValueError, match=r"none of .* draws of the prior"):
        inference.truncated_prior(Box(5.0), uniform, OBSERVATION, key=0)
    with pytest.warns(RuntimeWarning, match="cannot reach"):
        inference.truncated_prior(Box(0.5), uniform, OBSERVATION, key=0)
    with pytest.raises(ValueError, match="quantile"):
        inference.truncated_prior(trained, PRIOR, OBSERVATION, key=0, quantile=1.0)
    with pytest.raises(ValueError, match="num_atoms"):
        fl.losses.atomic_loss(PRIOR, num_atoms=1)


def test_posteriors_are_densities() -> None:
    """Would catch an attribute that `simulate` and the other functions need."""
    for kind in (fl.inference.Posterior, fl.inference.TruncatedPrior):
        names = {field.name for field in dataclasses.fields(kind)} | set(dir(kind))
        assert set(Density.__annotations__) | {"log_prob", "sample"} <= names
