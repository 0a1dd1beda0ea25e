"""A flow as a distrax distribution, a bijector as a distrax bijector, and back."""

from collections.abc import Iterator

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.interop import (
    FromDistrax,
    FromDistraxBijector,
    ToDistrax,
    ToDistraxBijector,
)


def make(condition_dim: int | None = None) -> fl.Flow:
    """A flow that is not the identity."""
    flow = fl.flows.realnvp(
        dim=2, num_layers=2, hidden=(4,), condition_dim=condition_dim, rngs=nnx.Rngs(0)
    )
    return randomised(flow)


FLOW = make()
X = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)


@pytest.fixture(autouse=True)
def promotion() -> Iterator[None]:
    """Distrax promotes ranks itself."""
    with jax.numpy_rank_promotion("allow"):
        yield


def test_distribution_is_the_flow_under_jit_and_with_seeds() -> None:
    """Would catch shapes, keys or densities that change on the way into distrax."""
    dist = ToDistrax(FLOW)
    assert (dist.event_shape, dist.batch_shape, dist.dtype) == ((2,), (), np.float32)
    log_prob = jax.jit(lambda dist, x: dist.log_prob(x))
    np.testing.assert_allclose(log_prob(dist, X), FLOW.log_prob(X), rtol=1e-5)
    x, log_p = dist.sample_and_log_prob(seed=3, sample_shape=(2, 4))
    assert x.shape == (2, 4, 2)
    np.testing.assert_allclose(log_p, FLOW.log_prob(x), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(x, dist.sample(seed=jax.random.PRNGKey(3), sample_shape=(2, 4)))


def test_conditions_make_a_batch() -> None:
    """Would catch conditions that are mixed up among the distributions of a batch, or by vmap."""
    flow = make(condition_dim=1)
    conditions = jnp.linspace(-2.0, 2.0, 5)[:, None]
    expected = flow.log_prob(X, conditions)
    assert np.ptp(flow.log_prob(X[:1], conditions)) > 0.1
    dist = ToDistrax(flow, conditions)
    assert dist.batch_shape == (5,) and dist.sample(seed=0, sample_shape=3).shape == (3, 5, 2)
    np.testing.assert_allclose(dist.log_prob(X), expected, rtol=1e-5)
    independent = distrax.Independent(dist, 1)
    assert independent.event_shape == (5, 2)
    np.testing.assert_allclose(independent.log_prob(X), expected.sum(), rtol=1e-5)
    one_by_one = jax.vmap(lambda c, x: ToDistrax(flow, c).log_prob(x))(conditions, X)
    np.testing.assert_allclose(one_by_one, expected, rtol=1e-5)
    mapped = jax.vmap(lambda dist, x: dist.log_prob(x), in_axes=(None, 0))(ToDistrax(FLOW), X)
    np.testing.assert_allclose(mapped, FLOW.log_prob(X), rtol=1e-5)


def test_bijector_in_transformed_and_chain() -> None:
    """Would catch a wrong direction, a lost log-determinant, or batches that are not mapped."""
    base = distrax.MultivariateNormalDiag(jnp.zeros(2), jnp.ones(2))
    bijector = ToDistraxBijector(FLOW.bijector)
    x, log_p = distrax.Transformed(base, bijector).sample_and_log_prob(seed=0, sample_shape=(3, 4))
    np.testing.assert_allclose(log_p, FLOW.log_prob(x), rtol=1e-4, atol=1e-4)

    scale = distrax.Block(distrax.ScalarAffine(1.0, 2.0), 1)
    chained = distrax.Transformed(base, distrax.Chain([scale, bijector]))
    expected = FLOW.log_prob((X - 1) / 2) - 2 * np.log(2.0)
    np.testing.assert_allclose(jax.jit(chained.log_prob)(X), expected, rtol=1e-4)


def test_there_and_back() -> None:
    """Would catch a way back with another density."""
    base = FromDistrax(ToDistrax(FLOW))
    layer = FromDistraxBijector(ToDistraxBijector(FLOW.bijector), dim=2)
    twice = fl.Flow(base, layer)
    z, log_det = FLOW.to_latent(X)
    np.testing.assert_allclose(twice.log_prob(X), FLOW.log_prob(z) + log_det, rtol=1e-4)


def test_bijectors_of_distrax_map_entries_and_last_axes() -> None:
    """Would catch a log-determinant of one entry in place of their sum."""
    layer = FromDistraxBijector(distrax.Tanh(), dim=(2, 3))
    ours = fl.bijectors.Tanh((2, 3))
    x = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
    for (y, log_det), (expected, d) in zip(
        (layer.forward_and_log_det(x), layer.inverse_and_log_det(x / 2)),
        (ours.forward_and_log_det(x), ours.inverse_and_log_det(x / 2)),
        strict=True,
    ):
        np.testing.assert_allclose(y, expected, rtol=1e-5)
        np.testing.assert_allclose(log_det, d, rtol=1e-5)


def test_mistakes_are_named() -> None:
    """Would catch a KL divergence of nothing, and errors from the inside of distrax."""
    with pytest.raises(NotImplementedError, match="KL"):
        ToDistrax(FLOW).kl_divergence(ToDistrax(FLOW))
    with pytest.raises(TypeError, match="flow is a StandardNormal"):
        ToDistrax(FLOW.base)
    with pytest.raises(TypeError, match="bijector is a Flow"):
        ToDistraxBijector(FLOW)
    with pytest.raises(ValueError, match="condition was given"):
        ToDistrax(FLOW, jnp.zeros(1))
    with pytest.raises(TypeError, match=r"expected a distrax\.Bijector"):
        FromDistraxBijector(FLOW.bijector, dim=2)
    with pytest.raises(ValueError, match="events of 1 axes"):
        FromDistraxBijector(distrax.Block(distrax.Tanh(), 1), dim=())
