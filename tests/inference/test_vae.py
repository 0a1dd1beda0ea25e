"""Variational autoencoders: bounds against a model whose likelihood is known, and training."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.conditioners import MLP, ConvDecoder, ConvEncoder
from flowjax_lite.distributions import ConditionalNormal
from flowjax_lite.inference import VAE, elbo

SCALE = 0.5  # of the noise of x


def planar(condition_dim: int, rngs: nnx.Rngs) -> fl.Flow:
    """A posterior of two latents."""
    base = ConditionalNormal(2, condition_dim=condition_dim, hidden=(4,), rngs=rngs)
    options = {"condition_dim": condition_dim, "hidden": (4,), "base": base, "rngs": rngs}
    return fl.flows.planar(dim=2, num_layers=2, **options)


@pytest.fixture(scope="module")
def small() -> VAE:
    """A VAE of three bits."""
    rngs = nnx.Rngs(0)
    encoder = MLP(3, out_shape=(4,), hidden=(8,), zero=False, rngs=rngs)
    decoder = MLP(2, out_shape=(3,), hidden=(8,), zero=False, rngs=rngs)
    return VAE(encoder, planar(4, rngs), decoder)


@pytest.fixture(scope="module")
def linear() -> VAE:
    """x = w z + noise with one latent, and its exact posterior, so that the bound is tight."""
    rngs = nnx.Rngs(0)
    w = 2.0
    encoder = MLP(1, out_shape=(1,), hidden=(2,), rngs=rngs)
    decoder = MLP(1, out_shape=(2, 1), hidden=(2,), rngs=rngs)
    base = ConditionalNormal(1, condition_dim=1, hidden=(2,), rngs=rngs)
    # relu(a) - relu(-a) = a: networks that are linear maps
    pair = jnp.array([[1.0, -1.0]])
    for network in (encoder, decoder, base.network):
        network.layers[0].kernel[...] = pair
    encoder.last.kernel[...] = pair.T
    decoder.last.kernel[...] = jnp.concatenate([w * pair.T, jnp.zeros((2, 1))], axis=1)
    gain = w / (w**2 + SCALE**2)
    base.network.last.kernel[...] = jnp.concatenate([gain * pair.T, jnp.zeros((2, 1))], axis=1)
    raw = {"decoder": (decoder, SCALE), "base": (base.network, SCALE / np.hypot(w, SCALE))}
    for network, scale in raw.values():
        log = np.log(scale)
        network.last.bias[...] = jnp.array([0.0, 10 * np.arctanh(log / 10)])
    flow = fl.Flow(base, fl.bijectors.Identity(1))
    return VAE(encoder, flow, decoder, likelihood="normal")


def exact(x: jax.Array) -> jax.Array:
    """log p(x) of the linear model."""
    return jax.scipy.stats.norm.logpdf(x[..., 0], scale=np.hypot(2.0, SCALE))


def test_bound_of_an_exact_posterior_is_the_likelihood(linear: VAE):
    """Catches a term that is missing or has the wrong sign, for every sample and any number."""
    x = jnp.linspace(-3, 3, 7)[:, None]
    for num in (1, 5):
        bound = linear.lower_bound(x, 0, num_samples=num)
        np.testing.assert_allclose(bound, exact(x), atol=2e-5)
    np.testing.assert_allclose(elbo()(linear, x), -exact(x).mean(), atol=2e-5)
    slices = linear.lower_bound(x, 0, batch_size=3)
    np.testing.assert_allclose(slices, exact(x), atol=2e-5)


def test_bound_of_a_wrong_posterior_rises_to_the_likelihood(linear: VAE):
    """Catches a bound above the likelihood; the twin: a mean of weights' logarithms would stay."""
    wrong = jax.tree.map(lambda leaf: leaf, linear)
    wrong.posterior.base.network.last.bias[...] += jnp.array([0.3, 0.5])
    x = jnp.tile(jnp.array([[1.0]]), (4000, 1))
    one, many = (np.mean(wrong.lower_bound(x, 0, num_samples=num)) for num in (1, 100))
    assert one < many - 0.2 and many < exact(x)[0] + 0.01
    assert abs(many - exact(x)[0]) < 0.02


def test_beta_weighs_the_divergence_alone(small: VAE):
    """Catches a warm-up of the likelihood, of another length, or of the rows held out."""
    vae, x, key = randomised(small), jnp.eye(3), jax.random.key(1)
    loss = elbo(warm_up_steps=4)
    at = [float(loss(vae, x, key=key, step=jnp.asarray(step))) for step in (0, 1, 3, 9)]
    full = float(elbo()(vae, x, key=key))
    np.testing.assert_allclose(at[1] - at[0], (full - at[0]) / 3, rtol=1e-4)
    np.testing.assert_allclose(at[2:], full, rtol=1e-6)
    held_out = [float(loss(vae, x)) for _ in range(2)]
    assert held_out[0] == held_out[1] == float(elbo(warm_up_steps=9)(vae, x))


def test_rows_without_weight_do_not_count(small: VAE):
    """Catches a mean over all rows, and NaN of a row that was to be left out."""
    x = jnp.array([[0.0, 1.0, 1.0], [jnp.nan, 0.0, 0.0]])
    loss = jax.grad(lambda vae: elbo()(vae, x, weights=jnp.array([1.0, 0.0])), allow_int=True)
    gradient = jax.jit(loss)(randomised(small))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(nnx.state(gradient, nnx.Param)))


def test_training_learns_the_bits_and_warms_up(small: VAE, tmp_path: Path):
    """Catches a model that fit refuses, that learns nothing, or that no file can rebuild."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2, size=(256, 1))
    x = np.concatenate([first, first, 1 - first], axis=1).astype(np.float32)  # entropy log 2
    options = {"checks": "off", "learning_rate": 1e-2, "batch_size": 64, "progress": False}
    warm = fl.fit(small, x, loss=elbo(warm_up_steps=80), key=0, max_epochs=60, **options)
    assert -warm.history["validation"][warm.best_epoch] > -1.2
    # at β near 0 the training loss is the likelihood's alone, which is lower
    assert warm.history["train"][0] < warm.history["validation"][0]
    vae = warm.flow
    bound = np.mean(vae.lower_bound(x, 0, num_samples=20))
    assert -1.2 < bound < -np.log(2) + 0.1
    assert "posterior" in repr(vae) and len(repr(vae).splitlines()) < 30
    samples = np.asarray(vae.sample(0, (200,)))
    assert np.mean(np.isin((samples @ [4, 2, 1]), [1, 6])) > 0.6  # by chance 0.25
    assert np.mean(np.round(vae.reconstruct(x, 1)) == x) > 0.95
    fl.save(tmp_path / "vae.safetensors", vae)
    again = fl.load(tmp_path / "vae.safetensors")
    np.testing.assert_array_equal(again.lower_bound(x[:5], 0), vae.lower_bound(x[:5], 0))


def test_images_and_normal_likelihood():
    """Catches shapes that fit vectors alone."""
    rngs = nnx.Rngs(0)
    encoder = ConvEncoder((4, 4, 1), out_shape=(4,), channels=(2,), rngs=rngs)
    decoder = ConvDecoder(2, out_shape=(4, 4, 1), channels=(2,), rngs=rngs)
    vae = VAE(encoder, planar(4, rngs), decoder)
    x = jnp.zeros((2, 3, 4, 4, 1))
    assert vae.lower_bound(x, 0).shape == (2, 3)
    assert vae.encode(x, 0, 5).shape == (5, 2, 3, 2)
    assert vae.reconstruct(x, 0).shape == x.shape and vae.sample(0).shape == (4, 4, 1)


def test_parts_that_do_not_fit_are_named():
    """Catches a mistake that would show inside of a compiled step."""
    rngs = nnx.Rngs(0)
    encoder, decoder = (MLP(a, out_shape=(b,), rngs=rngs) for a, b in ((3, 4), (2, 3)))
    with pytest.raises(ValueError, match=r"the encoder gives shape \(4,\); expected \(5,\)"):
        VAE(encoder, planar(5, rngs), decoder)
    with pytest.raises(ValueError, match=r"the decoder gives shape \(3,\); expected \(2, 3\)"):
        VAE(encoder, planar(4, rngs), decoder, likelihood="normal")
    with pytest.raises(TypeError, match="condition_dim"):
        VAE(encoder, fl.flows.planar(dim=2, rngs=rngs), decoder)
    with pytest.raises(TypeError, match="the model is a Flow"):
        elbo()(planar(4, rngs), jnp.zeros((2, 2)))
    base = fl.distributions.ConditionalNormal(2, condition_dim=4, rngs=rngs)
    vae = VAE(encoder, fl.Flow(base, fl.bijectors.BatchNorm(2)), decoder)
    with pytest.raises(TypeError, match="within this VAE holds a BatchNorm"):
        fl.fit(vae, np.ones((20, 3), np.float32), key=0, loss=elbo(), checks="off", progress=False)
