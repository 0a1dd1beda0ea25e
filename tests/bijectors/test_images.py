"""An image is an event like a vector: elementwise layers, statistics, and the flow around them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

import flowjax_lite as fl
from flowjax_lite import bijectors as b
from flowjax_lite.distributions.statistics import observe
from flowjax_lite.transformers import RationalQuadraticSpline

SHAPE = (4, 4, 3)
SIZE = 48
LAYERS = {
    "Identity": b.Identity,
    "Shift": b.Shift,
    "Scale": b.Scale,
    "Affine": b.Affine,
    "Standardize": lambda dim: b.Standardize(dim, loc=3.0, scale=2.0),
    "Exp": b.Exp,
    "Sigmoid": b.Sigmoid,
    "NormalCDF": b.NormalCDF,
    "BetaCDF": lambda dim: b.Chain([b.Sigmoid(dim), b.BetaCDF(dim, alpha=2.0, beta=3.0)]),
    "GaussianMixtureCDF": lambda dim: b.GaussianMixtureCDF(dim, num_components=2, rngs=nnx.Rngs(0)),
    "Independent": lambda dim: b.Independent(RationalQuadraticSpline(num_bins=4), dim),
    "ActNorm": b.ActNorm,
    "BatchNorm": b.BatchNorm,
}


def flattened(leaf: jax.Array) -> jax.Array:
    """An array of one layer of images as that of the layer of vectors."""
    return leaf.reshape(*leaf.shape[: leaf.ndim - 3], SIZE)


@pytest.mark.parametrize("name", LAYERS)
def test_an_image_is_a_vector(name: str):
    """Catches an axis that is summed twice, or taken for a batch."""
    image, vector = (randomised(LAYERS[name](dim)) for dim in (SHAPE, SIZE))
    leaves = jax.tree.leaves(image)
    vector = jax.tree.unflatten(jax.tree.structure(vector), list(map(flattened, leaves)))
    x = jnp.linspace(-2, 2, SIZE)
    y, log_det = image.forward_and_log_det(x.reshape(SHAPE))
    expected, expected_log_det = vector.forward_and_log_det(x)
    back, back_log_det = image.inverse_and_log_det(y)
    for value, of_value, want in ((y, log_det, expected), (back, -back_log_det, x)):
        assert value.shape == SHAPE and of_value.shape == ()
        np.testing.assert_allclose(value.ravel(), want, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(of_value, expected_log_det, rtol=1e-4, atol=1e-2)
    with pytest.raises(
        ValueError, match=r"x has shape \(48,\); expected one event of shape \(4, 4"
    ):
        image.forward_and_log_det(x)


@pytest.fixture(scope="module")
def images() -> jax.Array:
    """Images whose pixels have scales and means of their own."""
    z = jax.random.normal(jax.random.key(0), (500, *SHAPE))
    return 10 * jnp.arange(SIZE).reshape(1, *SHAPE) + z * (1 + jnp.arange(3))[None, None, None]


def test_standardize_measures_every_pixel(images: jax.Array):
    """Catches statistics pooled over pixels, or a batch axis in the wrong place."""
    standardize = b.Standardize.from_data(images)
    assert standardize.event_shape == SHAPE
    z = jax.vmap(standardize.inverse)(images)
    np.testing.assert_allclose(jnp.mean(z, axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(jnp.std(z, axis=0), 1.0, rtol=1e-3)
    with pytest.raises(ValueError, match=r"entry \[1, 2, 0\] has location"):
        b.Standardize.from_data(images.at[:, 1, 2, 0].set(7.0))


def test_a_batch_of_images_sets_statistics(images: jax.Array):
    """Catches initialize and observe that take a row of pixels for an event."""
    bijector = b.Chain([b.ActNorm(SHAPE), b.BatchNorm(SHAPE, momentum=0.5)])
    flow = fl.initialize(fl.Flow(fl.distributions.StandardNormal(SHAPE), bijector), images)
    z = jax.vmap(flow.bijector.inverse)(images)
    np.testing.assert_allclose(jnp.mean(z, axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(jnp.std(z, axis=0), 1.0, rtol=1e-3)
    pushed = observe(flow, images + 1.0).bijector[1]
    moved = pushed.mean[...] - flow.bijector[1].mean[...]
    scale = flow.bijector[0].scale[...]
    # ActNorm takes the later images as they are: a shift by 1 / scale reaches BatchNorm.
    assert moved.shape == SHAPE
    np.testing.assert_allclose(jnp.abs(moved), 0.5 / scale, rtol=1e-2)
