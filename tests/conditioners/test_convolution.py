"""Convolutional networks, beside what the battery asks of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

from flowjax_lite.conditioners import ConvDecoder, ConvEncoder, ConvNet, GivenImage
from flowjax_lite.conditioners.convolution import GatedBlock


def test_shapes_and_starts():
    """Catches a stage that changes another axis; a start at zero, or none, in the wrong network."""
    net = ConvNet((6, 4, 2), out_channels=5, channels=3, rngs=nnx.Rngs(0))
    encoder = ConvEncoder((7, 5, 2), out_shape=(2, 3), channels=(3, 4), rngs=nnx.Rngs(0))
    decoder = ConvDecoder(3, out_shape=(4, 8, 2), channels=(4, 3), rngs=nnx.Rngs(0))
    for network, shape in ((net, (6, 4, 2)), (encoder, (7, 5, 2)), (decoder, (3,))):
        y = jax.jit(lambda network, x: network(x))(network, jnp.ones(shape))
        assert y.shape == network.out_shape
        assert np.all(y == 0) == (network is net)


def test_a_block_starts_as_the_identity_and_sees_neighbours_alone():
    """Catches a norm over pixels, through which every pixel would see all others."""
    block = GatedBlock(
        2, condition_dim=None, activation=jnp.tanh, compute_dtype="float32", rngs=nnx.Rngs(0)
    )
    x = jax.random.normal(jax.random.key(0), (5, 5, 2))
    apply = jax.jit(lambda block, x: block(x, None))
    np.testing.assert_array_equal(apply(block, x), x)
    block = randomised(block)
    changed = np.abs(apply(block, x.at[0, 0, 0].add(1.0)) - apply(block, x)).sum(-1) > 0
    np.testing.assert_array_equal(changed, np.pad(np.ones((2, 2), bool), (0, 3)))


def test_an_image_as_condition_is_seen_square_by_square():
    """Catches a condition that is turned, or put before the input."""
    within = randomised(ConvNet((1, 2, 5), out_channels=2, channels=3, rngs=nnx.Rngs(0)))
    network = GivenImage(within, (2, 4, 1))
    x, c = jnp.array([[[1.0], [2.0]]]), jnp.arange(8.0).reshape(2, 4, 1)
    together = jnp.array([[[1.0, 0, 1, 4, 5], [2.0, 2, 3, 6, 7]]])
    np.testing.assert_allclose(network(x, c), within(together), rtol=1e-6)


def test_settings_are_named():
    """Catches a shape that fails inside a convolution."""
    with pytest.raises(ValueError, match=r"image_shape is \(28, 28\); expected \(height"):
        ConvNet((28, 28), out_channels=1, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"out_shape is \(6, 8, 1\).*multiples of 4"):
        ConvDecoder(3, out_shape=(6, 8, 1), rngs=nnx.Rngs(0))
    within = ConvNet((1, 2, 5), out_channels=2, channels=3, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="same multiple of its sides"):
        GivenImage(within, (2, 6, 1))
