"""Likelihood of rows with noise: of the right size, fresh in each step, none on rows held out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.bijectors import Affine
from flowjax_lite.distributions import Flow, StandardNormal
from flowjax_lite.losses import noise_regularized

X = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
NORMAL = Flow(StandardNormal(2), Affine.from_arrays(np.zeros(2), np.ones(2)))


def test_without_a_key_there_is_no_noise():
    """Catches rows held out that are compared with noise on them."""
    loss = noise_regularized(scale=0.5)
    assert loss(NORMAL, X) == fl.negative_log_likelihood(NORMAL, X)


def test_noise_has_its_scale_and_is_drawn_anew():
    """Catches noise of another scale, the same noise on all entries, or the same in each step."""
    loss = jax.jit(jax.vmap(lambda key: noise_regularized(scale=(0.5, 2.0))(NORMAL, X, key=key)))
    values = loss(jax.random.split(jax.random.key(0), 500))
    plain = fl.negative_log_likelihood(NORMAL, X)
    np.testing.assert_allclose(values.mean() - plain, (0.5**2 + 2.0**2) / 2, rtol=0.02)
    assert len(np.unique(values)) > 400


def test_a_fit_learns_the_convolution():
    """Catches noise that training does not see; without it, the twin, the spread is the rows'."""
    spreads = {}
    for name, loss in (
        ("plain", fl.negative_log_likelihood),
        ("noisy", noise_regularized(scale=1.0)),
    ):
        settings = {"max_epochs": 100, "batch_size": 50, "patience": None, "validation": None}
        flow = fl.fit(NORMAL, X, key=0, loss=loss, learning_rate=0.02, progress=False, **settings)
        z = np.asarray(flow.flow.to_latent(jnp.eye(2) - jnp.eye(2)[::-1])[0])
        spreads[name] = 1 / abs(z[0] - z[1]) * 2
    variance = X.var(axis=0)
    np.testing.assert_allclose(spreads["plain"] ** 2, variance, rtol=0.1)
    np.testing.assert_allclose(spreads["noisy"] ** 2, variance + 1, rtol=0.15)


def test_rows_without_weight_have_no_influence():
    """Catches weights that are dropped, and NaN in a row that has none."""
    loss, weights = noise_regularized(scale=0.1), jnp.ones(50).at[3].set(0.0)
    spoiled = jnp.asarray(X).at[3].set(jnp.nan)
    values = [loss(NORMAL, x, None, weights, jax.random.key(0)) for x in (X, spoiled)]
    np.testing.assert_array_equal(*values)


def test_equal_scales_give_equal_losses():
    """Catches losses that compile a training program anew."""
    assert noise_regularized(scale=np.ones(2)) == noise_regularized(scale=[1.0, 1.0])
    assert hash(noise_regularized(scale=0.1)) == hash(noise_regularized(scale=0.1))
    assert noise_regularized(scale=0.1) != noise_regularized(scale=0.2)


def test_mistakes_are_named():
    """Catches a scale that would change nothing, or that broadcasts by accident."""
    for scale in (0.0, -1.0, np.nan, [], [0.1, 0.0]):
        with pytest.raises(ValueError, match="scale is"):
            noise_regularized(scale=scale)
    flow = fl.flows.realnvp(dim=2, num_layers=1, hidden=(4,), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"scale has shape \(3,\); this flow has events"):
        noise_regularized(scale=np.ones(3))(flow, X)
