"""Image flows: partitions of pixels, scales, and what a batch sets, beside the battery."""

import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

import flowjax_lite as fl
from flowjax_lite import bijectors as b
from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.conditioners import ConvNet, ZeroConvNet
from flowjax_lite.core.recipe import from_json, to_json
from flowjax_lite.flows import IMAGES
from flowjax_lite.transformers import Affine

SHAPE = (4, 6, 2)


def coupling(shape: tuple[int, int, int]) -> b.Coupling:
    """A coupling of images of this shape that keeps half of the channels, with random weights."""
    height, width, channels = shape
    half = {"out_channels": channels // 2, "num_params": 2}
    network = ConvNet((height, width, channels // 2), **half, channels=4, rngs=nnx.Rngs(0))
    return randomised(b.Coupling(Affine(), network))


def image(shape: tuple[int, ...] = SHAPE) -> jax.Array:
    """Random numbers."""
    return jax.random.normal(jax.random.key(1), shape)


def test_a_checkerboard_is_the_masked_one():
    """Catches a colour that is kept in one square and moved in the next; the published form."""
    packed = coupling((2, 3, 8))
    x = image()
    y, log_det = b.Squeezed(packed, order=b.CHECKERBOARD).forward_and_log_det(x)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    mask = ((rows + columns) % 2 == 0)[..., None]
    # Scales and shifts of the moved pixels from the kept ones, put where they belong by hand.
    kept = np.zeros((2, 3, 4), np.float32)
    for i, j in np.ndindex(2, 3):
        square = np.asarray(x)[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        kept[i, j] = np.concatenate([square[0, 0], square[1, 1]])
    shift, raw_scale = packed.conditioner(jnp.asarray(kept))
    moved, _ = Affine().forward_and_log_det(jnp.stack([shift, raw_scale]), jnp.ones_like(shift))
    slope = np.asarray(moved - shift)
    expected = np.array(x)
    for i, j in np.ndindex(2, 3):
        for place, (di, dj) in enumerate([(0, 1), (1, 0)]):
            part = slice(2 * place, 2 * place + 2)
            expected[2 * i + di, 2 * j + dj] *= slope[i, j, part]
            expected[2 * i + di, 2 * j + dj] += shift[i, j, part]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(np.where(mask, y, 0), np.where(mask, x, 0))
    assert np.all((np.asarray(y) != np.asarray(x)) == ~mask)
    np.testing.assert_allclose(log_det, np.log(slope).sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", [None, b.CHECKERBOARD])
def test_squares_become_channels_in_the_order_that_is_asked(order: tuple[int, ...] | None):
    """Catches a transpose, and an order that is undone by another."""

    class Cut(AbstractBijector):
        """Halve the first half of the channels of images."""

        def __init__(self, shape: tuple[int, ...]) -> None:
            self.event_shape, self.condition_shape = shape, None

        def forward_and_log_det(self, x, condition=None, key=None):
            return x.at[..., : x.shape[-1] // 2].multiply(0.5), jnp.zeros(())

        def inverse_and_log_det(self, y, condition=None, key=None):
            return y.at[..., : y.shape[-1] // 2].multiply(2.0), jnp.zeros(())

    x = image()
    y = b.Squeezed(Cut((2, 3, 8)), order=order).forward(x)
    halved = np.asarray(y == x / 2)[..., 0]
    square = [[True, True], [False, False]] if order is None else [[True, False], [False, True]]
    np.testing.assert_array_equal(halved, np.tile(square, (2, 3)))


def test_patches_are_tokens_row_by_row():
    """Catches patches in another order, or pixels of two patches in one token."""
    x = jnp.arange(24.0).reshape(4, 6, 1)
    first = b.Affine.from_arrays(jnp.zeros((6, 4)), jnp.ones((6, 4)).at[1].set(2.0))
    moved = b.Patched(first, (4, 6, 1), size=2).forward(x) != x
    expected = np.zeros((4, 6, 1), bool)
    expected[:2, 2:4] = True  # the second patch of the first row
    np.testing.assert_array_equal(moved, expected)


def test_a_convolution_is_the_sum_over_its_window():
    """Catches a kernel that is turned around; parameters in the place of channels."""
    network = randomised(ZeroConvNet((3, 4, 2), out_channels=3, num_params=2, rngs=nnx.Rngs(0)))
    x, kernel = image((3, 4, 2)), np.asarray(network.last.kernel[...])
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    expected = np.zeros((2, 3, 4, 3))
    for p, i, j, c in np.ndindex(2, 3, 4, 3):
        window = padded[i : i + 3, j : j + 3]
        channel = 3 * p + c
        expected[p, i, j, c] = np.sum(window * kernel[..., channel]) + network.last.bias[channel]
    np.testing.assert_allclose(network(x), expected, rtol=1e-5, atol=1e-5)


def test_what_passes_is_left_alone():
    """Catches channels that are factored out, and still move; a part that loses its place."""
    inner = randomised(b.Chain([coupling((2, 2, 4)), b.ActNorm((2, 2, 4))]))
    outer = b.FirstChannels(inner, 6)
    x = image((2, 2, 6))
    y, log_det = outer.forward_and_log_det(x)
    expected, expected_log_det = inner.forward_and_log_det(x[..., :4])
    np.testing.assert_array_equal(y[..., 4:], x[..., 4:])
    np.testing.assert_allclose(y[..., :4], expected, rtol=1e-6)
    np.testing.assert_allclose(log_det, expected_log_det, rtol=1e-6)
    for part in outer.parts():
        x = part.apply(x)[0]
    np.testing.assert_allclose(x, y, rtol=1e-6)


AT_SCALES = ("realnvp_image", "glow", "flowpp_image")


def make(name: str, **settings: object) -> fl.Flow:
    """A small flow of four levels, of two scales or of four patches."""
    sizes = {"channels": 4} if name in AT_SCALES else {"patch_size": 2, "width": 8}
    options = {"num_layers": 2, "num_levels": 4, "rngs": nnx.Rngs(0)} | sizes | settings
    return IMAGES[name](image_shape=(4, 4, 1), **options)


@pytest.mark.parametrize("name", IMAGES)
def test_a_batch_sets_every_normalisation(name: str):
    """Catches a layer at some scale that a batch does not reach, or statistics of single pixels."""
    x = 4 * jax.random.uniform(jax.random.key(0), (200, 4, 4, 1)) ** 3
    flow = fl.initialize(make(name), x)
    z, _ = flow.to_latent(x)
    assert abs(float(z.mean())) < 0.05 and abs(float(z.std()) - 1) < 0.05
    before, _ = make(name).to_latent(x)
    assert abs(float(before.mean())) > 0.3
    for part in flow.bijector.parts():  # each of them met the batch
        layer = part.bijector
        while hasattr(layer, "bijector"):
            layer = layer.bijector
        if isinstance(layer, b.AbstractNormalization):
            constants = layer.loc if isinstance(layer, b.ActNorm) else layer.mean
            assert np.any(constants[...] != 0)


def test_a_jet_moves_halves_in_turn():
    """Catches a coupling that moves what it should keep, and numbers that no coupling moves.

    Also patches of one colour that the couplings of all layers keep.
    """
    shape, options = (8, 12, 1), {"num_layers": 2, "width": 8, "logit": None}
    options |= {"patch_size": 2, "normalization": None}  # which moves all, given nothing
    flow = randomised(fl.flows.jet(image_shape=shape, **options, rngs=nnx.Rngs(0)))
    x, numbers = image(shape), jnp.arange(96.0).reshape(shape)  # which number stands where
    colours, moved_numbers = [], []
    for part in flow.bijector.parts()[:-1]:  # the last one is the map of pixels
        y, log_det = part.apply(x)
        if log_det == 0:
            numbers, _ = part.apply(numbers)
            continue
        moved = np.asarray(y != x)
        other, _ = part.apply(x.at[np.unravel_index(np.argmin(moved), shape)].add(1.0))
        assert np.all(np.asarray(other != y)[moved])  # all that move, given the first that stays
        colours.append(moved)
        moved_numbers.append(set(np.asarray(numbers)[moved].tolist()))
    assert [len(some) for some in moved_numbers] == 6 * [48]
    for first, second in ((0, 1), (3, 4), (2, 5)):  # by features, by features, and by places
        assert len(moved_numbers[first] | moved_numbers[second]) == 96
    checkerboard = np.kron(np.indices((4, 6)).sum(0) % 2, np.ones((2, 2)))[..., None]
    for by_places in (colours[2], colours[5]):
        np.testing.assert_array_equal(by_places, checkerboard)


@pytest.mark.parametrize("name", IMAGES)
def test_files_and_layers(name: str, tmp_path: Path):
    """Catches a part without a recipe; layers that do not lead from the latent to the data."""
    flow = randomised(make(name, condition_dim=3))
    fl.save(tmp_path / "flow.safetensors", flow)
    again = fl.load(tmp_path / "flow.safetensors")
    x, c = 4 * jax.random.uniform(jax.random.key(0), (3, 4, 4, 1)), jnp.eye(3)
    np.testing.assert_array_equal(again.log_prob(x, c), flow.log_prob(x, c))
    z, _ = flow.to_latent(x, c)
    np.testing.assert_allclose(flow.trajectory(z, c)[-1], x, atol=1e-2)
    assert np.all(np.asarray(flow.log_prob(x, c) != flow.log_prob(x, c[::-1]))[[0, 2]])


@pytest.mark.parametrize("name", ["tarflow", "jet"])
def test_a_recipe_from_before_normalisations_has_none(name: str):
    """Catches a file of an earlier version whose arrays would not find their places."""
    without, with_ = make(name, normalization=None), make(name)
    before = to_json(without.recipe).replace(', "normalization": null', "")
    assert "normalization" not in before
    assert from_json(before) == without.recipe != with_.recipe
    assert len(without.layers()) + 1 == len(with_.layers())


@pytest.mark.parametrize("name", ["glow", "jet"])
def test_gradients_agree(name: str, x64: None):
    """Catches a layer of images that cannot be run back, or is run back by other numbers."""
    x = 4 * jax.random.uniform(jax.random.key(0), (5, 4, 4, 1))

    def slopes(gradient: str) -> list[jax.Array]:
        flow = randomised(fl.initialize(make(name, gradient=gradient), x), scale=0.1)
        graphdef, params, rest = nnx.split(flow, nnx.Param, ...)

        def loss(params: nnx.State) -> jax.Array:
            return fl.negative_log_likelihood(nnx.merge(graphdef, params, rest), x)

        return jax.tree.leaves(jax.jit(jax.grad(loss))(params))

    expected = slopes("store")
    for slope, stored in zip(slopes("invert"), expected, strict=True):
        np.testing.assert_allclose(slope, stored, rtol=1e-6, atol=1e-9)


def test_mistakes_are_named():
    """Catches a shape that fails inside a convolution, and settings that are not read."""
    with pytest.raises(ValueError, match=r"4 × 4 pixels: expected multiples of 4; take other"):
        fl.flows.tarflow(image_shape=(6, 8, 1), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"squares of 2 × 2: expected multiples of 8; take other"):
        fl.flows.jet(image_shape=(28, 28, 1), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="patch of a single number has no halves"):
        make("jet", patch_size=1)
    with pytest.raises(ValueError, match="patch_size is 0"):
        make("jet", patch_size=0)
    with pytest.raises(ValueError, match=r"event shape \(3, 4\); expected \(4, 4\), a token"):
        b.Patched(b.Identity((3, 4)), (4, 4, 1), size=2)
    with pytest.raises(ValueError, match=r"num_scales=2 scales halves .* multiples of 4"):
        fl.flows.glow(image_shape=(6, 8, 1), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"image_shape is \(28, 28\); expected \(height"):
        fl.flows.glow(image_shape=(28, 28), rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=r"glow\(image_shape=\(28, 28, 1\), rngs"):
        fl.flows.glow((28, 28, 1))
    with pytest.raises(ValueError, match="normalization is 'layer'"):
        fl.flows.realnvp_image(image_shape=(4, 4, 1), normalization="layer", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"logit is 0.5; expected a number above 0 and below 0.5"):
        make("glow", logit=0.5)
    with pytest.raises(TypeError, match="logit is 'odds'; expected a finite number"):
        make("glow", logit="odds")
    with pytest.raises(ValueError, match=r"event shape \(2, 2, 3\); .* multiple of size² = 4"):
        b.Squeezed(b.Identity((2, 2, 3)))
    with pytest.raises(ValueError, match="order is"):
        b.Squeezed(b.Identity((2, 2, 4)), order=(0, 1, 2, 2))
    with pytest.raises(ValueError, match="num_channels is 2"):
        b.FirstChannels(b.Identity((2, 2, 3)), 2)
    network = ConvNet((2, 2, 1), out_channels=1, num_params=3, channels=2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"Affine expects \(2, 2, 2, number of transformed chan"):
        b.Coupling(Affine(), network)


@pytest.mark.parametrize("name", IMAGES)
def test_every_option_is_described_and_none_is_ignored(name: str):
    """Catches an option without a description, and a default that is not shown."""
    signature = inspect.signature(IMAGES[name])
    for option, parameter in signature.parameters.items():
        assert re.search(rf"^    {option}: \S", IMAGES[name].__doc__, re.MULTILINE), option
        assert (parameter.default is parameter.empty) == (option in ("image_shape", "rngs"))
    with pytest.raises(TypeError, match=f"{name} takes no argument 'num_layer'.*num_layers"):
        IMAGES[name](image_shape=(4, 4, 1), num_layer=2, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="needs image_shape"):
        IMAGES[name](rngs=nnx.Rngs(0))
