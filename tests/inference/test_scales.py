"""Which latent entries are of which scale, beside what they change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

import flowjax_lite as fl
from flowjax_lite import bijectors as b
from flowjax_lite.inference import scales
from flowjax_lite.numerics.pixels import space_to_depth

SHAPE = (8, 8, 1)


@pytest.mark.parametrize("name", ["realnvp_image", "flowpp_image", "glow"])
def test_each_scale_leaves_half_behind(name: str):
    """Catches scales that are counted from the wrong end, and a flow that answers for one layer."""
    options = {"image_shape": SHAPE, "num_scales": 3, "num_layers": 1, "channels": 2}
    flow = jax.eval_shape(lambda: fl.flows.IMAGES[name](**options, rngs=nnx.Rngs(0)))
    of_entries = scales(flow)
    np.testing.assert_array_equal(np.bincount(of_entries.ravel()), [32, 16, 16])


def test_what_a_scale_hands_on_does_not_see_what_it_leaves_behind():
    """Catches entries in other places; the twin draws the coarse ones anew."""
    options = {"num_scales": 2, "num_layers": 1, "channels": 2, "logit": None}
    flow = randomised(fl.flows.glow(image_shape=SHAPE, **options, rngs=nnx.Rngs(0)))
    is_fine = scales(flow) == 0
    within = flow.bijector.bijectors[0].bijector.bijectors[0]  # Squeezed around the coarser scale
    assert isinstance(within, b.FirstChannels)
    to_coarse = jax.jit(lambda z: within.bijector.forward(space_to_depth(z, 2, range(4))[..., :2]))
    z, others = jax.random.normal(jax.random.key(0), (2, *SHAPE))
    np.testing.assert_array_equal(to_coarse(jnp.where(is_fine, others, z)), to_coarse(z))
    assert np.any(to_coarse(jnp.where(is_fine, z, others)) != to_coarse(z))


def test_compositions_are_asked():
    """Catches a composition that answers for itself alone."""
    first = b.FirstChannels(b.FirstChannels(b.Affine((2, 1)), 2), 4)
    expected = np.array([2, 1, 0, 0])
    stack = b.Repeat(lambda rngs: b.FirstChannels(b.Affine(1), 2), 3, rngs=nnx.Rngs(0))
    for bijector, want in (
        (first, np.tile(expected, (2, 1))),
        (b.Invert(first), np.tile(expected, (2, 1))),
        (b.Chain([b.Affine((2, 4)), first]), np.tile(expected, (2, 1))),
        (stack, np.array([1, 0])),
        (b.Affine(2), np.zeros(2, int)),
    ):
        np.testing.assert_array_equal(bijector.scales(), want)
    square = b.FirstChannels(b.Affine((1, 1, 2)), 4)
    checkerboard = b.Squeezed(square, order=b.CHECKERBOARD)
    np.testing.assert_array_equal(checkerboard.scales()[..., 0], np.eye(2, dtype=int))
