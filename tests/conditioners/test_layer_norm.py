"""Layer normalisation against plain numpy, and what a gradient keeps of it."""

import jax.numpy as jnp
import numpy as np
from battery.measure import randomised
from flax import nnx
from helpers.gradients import numbers_kept

from flowjax_lite.conditioners.layer_norm import LayerNorm


def test_features_far_from_zero_are_normalised():
    """Catches a variance that cancels, another axis, and a scale and shift that are left out."""
    norm = randomised(LayerNorm(64, rngs=nnx.Rngs(0)))
    x = 1e4 + np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    exact = x.astype(float)
    centred = exact - exact.mean(axis=-1, keepdims=True)
    expected = centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + norm.epsilon)
    expected = expected * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])
    np.testing.assert_allclose(norm(x), expected, rtol=1e-2, atol=1e-2)
    fast = np.sqrt(np.abs(np.mean(x * x, axis=-1) - np.mean(x, axis=-1) ** 2))  # the twin
    assert np.any(np.abs(fast / centred.std(axis=-1) - 1) > 0.1)


def test_a_gradient_keeps_the_features_alone():
    """Catches a norm whose parts all are kept until a backward pass."""
    x = jnp.ones((10, 64))
    assert numbers_kept(LayerNorm(64, rngs=nnx.Rngs(0)), x) == x.size
    assert numbers_kept(nnx.LayerNorm(64, rngs=nnx.Rngs(0)), x) > x.size  # the twin
