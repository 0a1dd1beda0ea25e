"""Images of whole levels: a bound that is one, noise, training on bytes, and what is refused."""

import itertools
import math
import statistics
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

import flowjax_lite as fl
from flowjax_lite import bijectors as b
from flowjax_lite.distributions import Dequantized, Flow, StandardNormal
from flowjax_lite.losses import bits_per_dim

LEVELS, SHAPE = 4, (2, 2, 1)
EVERY = np.array(list(itertools.product(range(LEVELS), repeat=4)), np.uint8).reshape(-1, *SHAPE)


def glow(**settings: object) -> Flow:
    """A small flow of numbers in [0, LEVELS)."""
    options = {"num_scales": 1, "num_layers": 2, "channels": 4, "rngs": nnx.Rngs(0)} | settings
    return fl.flows.glow(image_shape=SHAPE, num_levels=LEVELS, **options)


def noise() -> Flow:
    """Noise in (0, 1) that the image moves, far from uniform."""
    options = {"num_layers": 2, "channels": 4, "num_blocks": 1, "rngs": nnx.Rngs(1)}
    flow = fl.flows.dequantizer(SHAPE, **options)
    # Wider than uniform, so that the weights 1 / q have a variance.
    wide = b.Chain([flow.bijector[0], b.Standardize(SHAPE, loc=0.0, scale=2.5), b.Sigmoid(SHAPE)])
    return randomised(Flow(flow.base, wide), scale=0.2)


def test_probabilities_of_all_images_sum_to_the_mass_within_the_levels():
    """Catches noise that is not added, a scale that is forgotten, and images counted twice."""
    flow = randomised(glow(), scale=0.1)
    # The mean of exp(bound) is the probability itself, for any number of samples.
    bound = Dequantized(flow, num_levels=LEVELS).lower_bound(EVERY, 0, num_samples=400)
    samples = np.asarray(flow.sample(1, 20_000))
    mass = np.mean(np.all((samples >= 0) & (samples < LEVELS), axis=(1, 2, 3)))
    assert 0.3 < mass < 1
    np.testing.assert_allclose(np.exp(bound).sum(), mass, atol=0.03)


@pytest.mark.parametrize("kind", ["uniform", "variational"])
def test_probabilities_are_those_of_levels(kind: str):
    """Catches noise whose density is left out, or that leaves its level; the twin does without."""
    normal = statistics.NormalDist(1.5, 0.5)
    edges = np.diff([normal.cdf(level) for level in range(LEVELS + 1)])
    exact = np.prod(edges[EVERY], axis=(1, 2, 3))
    flow = Flow(StandardNormal(SHAPE), b.Standardize(SHAPE, loc=1.5, scale=0.5))
    of_noise = None if kind == "uniform" else noise()
    model = Dequantized(flow, num_levels=LEVELS, noise=of_noise)
    likely = exact > 0.04
    assert exact[likely].sum() > 0.5
    got = np.exp(model.lower_bound(EVERY[likely], 0, num_samples=10_000))
    np.testing.assert_allclose(got, exact[likely], rtol=0.1)
    if of_noise is not None:
        keys = jax.random.split(jax.random.key(0), (likely.sum(), 2000))
        noisy, _ = jax.vmap(jax.vmap(model.dequantized, (None, 0)))(EVERY[likely], keys)
        without = np.exp(flow.log_prob(noisy)).mean(axis=1)
        assert np.max(np.abs(without / exact[likely] - 1)) > 0.2


def test_the_bound_rises_with_samples_and_slices_do_not_matter():
    """Catches a mean of logarithms in the place of the logarithm of a mean; rows that are lost."""
    model = Dequantized(randomised(glow(), scale=0.1), num_levels=LEVELS)
    one, many = (float(model.lower_bound(EVERY, 0, num_samples=k).mean()) for k in (1, 100))
    assert one < many
    whole, parts = (
        np.exp(model.lower_bound(EVERY[::5], 0, num_samples=400, batch_size=size))
        for size in (None, 20)
    )
    assert np.corrcoef(whole, parts)[0, 1] > 0.98
    bits = model.bits_per_dim(EVERY[:5], 3, num_samples=2)
    expected = -model.lower_bound(EVERY[:5], 3, num_samples=2) / (4 * math.log(2))
    np.testing.assert_allclose(bits, expected, rtol=1e-6)


def test_samples_are_levels():
    """Catches samples beyond the levels, or rounded to the nearest, which would move them."""
    model = Dequantized(glow(), num_levels=LEVELS)
    samples = model.sample(0, (5, 3))
    assert samples.shape == (5, 3, *SHAPE) and samples.dtype == jnp.uint8
    numbers = model.flow.sample(0, (5, 3))
    np.testing.assert_array_equal(samples, np.clip(np.floor(numbers), 0, LEVELS - 1))


def test_noise_lies_in_its_level_and_learns_with_the_flow():
    """Catches noise that leaves (0, 1) or does not see the image, and that no gradient reaches."""
    model = Dequantized(glow(), num_levels=LEVELS, noise=noise())
    keys = jax.random.split(jax.random.key(0), len(EVERY))
    noisy, _ = jax.vmap(model.dequantized)(EVERY, keys)
    np.testing.assert_array_equal(np.floor(noisy), EVERY)
    first, second = (model.dequantized(x, jax.random.key(0))[0] - x for x in EVERY[[0, 9]])
    assert np.any(np.abs(first - second) > 1e-3)
    gradients = nnx.grad(bits_per_dim)(model, EVERY)
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(gradients.noise))


@pytest.mark.parametrize("normalization", ["batch", "act"])
def test_training_on_bytes(normalization: str, tmp_path: Path):
    """Catches images that fit refuses or turns into floats, and statistics that no step moves."""
    rng = np.random.default_rng(0)
    x = np.minimum(rng.poisson(0.4, (300, *SHAPE)), LEVELS - 1).astype(np.uint8)
    x[:, 1] = x[:, 0]  # half of each image says nothing new
    flow = fl.flows.realnvp_image(
        image_shape=SHAPE,
        num_levels=LEVELS,
        num_scales=1,
        num_layers=2,
        channels=4,
        num_blocks=1,
        normalization=normalization,
        rngs=nnx.Rngs(0),
    )
    model = fl.initialize(Dequantized(flow, num_levels=LEVELS), x[:100])
    options = {"batch_size": 50, "max_epochs": 15, "learning_rate": 1e-2, "progress": False}
    dtypes = []

    def loss(model, x, condition=None, weights=None, key=None):
        dtypes.append(x.dtype)
        return bits_per_dim(model, x, condition, weights, key)

    result = fl.fit(model, x, key=0, loss=loss, **options)
    assert set(dtypes) == {jnp.dtype("uint8")}
    history, entropy = result.history["validation"], 1.3
    assert history[-1] < history[0] - 0.1
    bits = result.flow.bits_per_dim(x, 0, num_samples=20).mean()
    counts = np.unique(x[:, 0].ravel(), return_counts=True)[1] / x[:, 0].size
    entropy = -np.sum(counts * np.log2(counts)) / 2  # of half of the numbers
    assert entropy - 0.05 < bits < 2 * entropy
    fl.save(tmp_path / "model.safetensors", result.flow)
    again = fl.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.sample(0, 4), result.flow.sample(0, 4))
    assert "levels" in repr(again)
    if normalization == "batch":
        means = [
            [leaf for path, leaf in jax.tree.leaves_with_path(m) if "variance" in str(path)]
            for m in (model, result.flow)
        ]
        assert means[0] and all(np.any(a != c) for a, c in zip(*means, strict=True))


def test_noise_is_new_in_each_step_and_the_same_on_rows_held_out():
    """Catches one noise for all of training, to which a flow would fit itself."""
    model = Dequantized(glow(), num_levels=LEVELS)
    x = EVERY[:20]
    assert bits_per_dim(model, x, key=1) != bits_per_dim(model, x, key=2)
    assert bits_per_dim(model, x) == bits_per_dim(model, x)
    weights = np.array([1.0, 0.0] * 10, np.float32)
    other = x.copy()
    other[1::2] = 0
    values = [bits_per_dim(model, rows, None, weights) for rows in (x, other)]
    assert values[0] == values[1]


def test_mistakes_are_named():
    """Catches images in another form than whole levels, channels last."""
    model = Dequantized(glow(), num_levels=LEVELS)
    with pytest.raises(TypeError, match=r"dtype float32; expected whole levels from 0 to 3"):
        model.lower_bound(EVERY.astype(np.float32), 0)
    with pytest.raises(ValueError, match="levels from 1 to 4; expected 0 to 3"):
        model.lower_bound(EVERY + 1, 0)
    with pytest.raises(ValueError, match=r"channels go last, np.moveaxis\(x, -3, -1\)"):
        model.lower_bound(np.moveaxis(EVERY, -1, 1), 0)
    with pytest.raises(TypeError, match="whole levels"):
        fl.fit(model, EVERY / 4.0, key=0, loss=bits_per_dim)
    with pytest.raises(TypeError, match=r"no exact likelihood.*losses.bits_per_dim"):
        fl.fit(model, EVERY, key=0, progress=False)
    with pytest.raises(TypeError, match="the model is a Flow"):
        bits_per_dim(model.flow, EVERY)
    with pytest.raises(ValueError, match="noise has events and conditions"):
        Dequantized(glow(), num_levels=LEVELS, noise=Flow(StandardNormal(4), b.Sigmoid(4)))
    with pytest.raises(ValueError, match="num_levels is 8, and the flow was built with 4"):
        Dequantized(glow(), num_levels=8)
    with pytest.raises(ValueError, match="num_levels is 1"):
        Dequantized(glow(), num_levels=1)
    with pytest.raises(ValueError, match=r"image_shape is \(3, 2, 1\).*multiples of 2"):
        fl.flows.dequantizer((3, 2, 1), rngs=nnx.Rngs(0))
