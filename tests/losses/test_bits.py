"""Bits for each number of an image, and images that are mirrored by chance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flowjax_lite as fl
from flowjax_lite import bijectors as b
from flowjax_lite.losses import bits_per_dim, flipped

SHAPE = (2, 3, 1)
X = np.arange(60, dtype=np.uint8).reshape(10, *SHAPE) % 7


def seen(model, x, condition=None, weights=None, key=None):
    """A loss that shows what it is given."""
    return x, key


def flat(num_levels: int) -> fl.distributions.Dequantized:
    """The uniform distribution over levels."""
    base = fl.distributions.Uniform(SHAPE, low=0.0, high=float(num_levels))
    return fl.distributions.Dequantized(fl.Flow(base, b.Identity(SHAPE)), num_levels=num_levels)


def test_bits_of_the_uniform_distribution_are_those_of_its_levels():
    """Catches nats, or a number of levels or of pixels that is counted twice."""
    for num_levels in (8, 256):
        model = flat(num_levels)
        np.testing.assert_allclose(bits_per_dim(model, X), np.log2(num_levels), rtol=1e-6)
        np.testing.assert_allclose(model.bits_per_dim(X, 0), np.log2(num_levels), rtol=1e-6)


def test_no_model_needs_fewer_bits_than_noise_has():
    """Catches a bound that is too good to be true; the twin forgets a scale, and is."""
    rng = np.random.default_rng(0)
    x, x_test = (rng.integers(0, 16, (200, 4, 4, 1)).astype(np.uint8) for _ in range(2))
    options = {"image_shape": (4, 4, 1), "num_scales": 1, "num_layers": 2, "channels": 8}
    flow = fl.flows.glow(num_levels=16, **options, rngs=nnx.Rngs(0))
    model = fl.initialize(fl.distributions.Dequantized(flow, num_levels=16), x)
    settings = {"max_epochs": 10, "batch_size": 50, "learning_rate": 1e-2, "progress": False}
    model = fl.fit(model, x, key=0, loss=bits_per_dim, patience=None, **settings).flow
    bits = float(model.bits_per_dim(x_test, 0, num_samples=20).mean())
    assert 4 - 0.01 < bits < 5
    forgotten = np.log2(16)  # of dividing levels by 16, which the density must pay for
    assert bits - forgotten < 4 - 0.01


def test_half_of_the_images_are_mirrored_and_none_without_a_key():
    """Catches images that are turned upside down, all at once, or where epochs are compared."""
    loss = jax.jit(lambda key: flipped(seen)(flat(8), jnp.asarray(X), key=key)[0])
    draws = np.stack([loss(key) for key in jax.random.split(jax.random.key(0), 50)])
    is_same = np.all(draws == X, axis=(2, 3, 4))
    is_mirrored = np.all(draws == X[:, :, ::-1], axis=(2, 3, 4))
    assert np.all(is_same != is_mirrored)
    assert 0.4 < is_mirrored.mean() < 0.6 and len(np.unique(is_mirrored, axis=0)) > 40
    x, key = flipped(seen)(flat(8), X)
    assert x is X and key is None
    assert flipped(bits_per_dim) == flipped(bits_per_dim)
    vector = fl.Flow(fl.distributions.StandardNormal(2), b.Identity(2))
    with pytest.raises(ValueError, match=r"events of shape \(2,\)"):
        flipped(bits_per_dim)(vector, jnp.zeros((3, 2)))
