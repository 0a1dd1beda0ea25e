"""Attention flows: images as patches, each transformed given those before it, or half of all."""

from typing import Unpack

from flax import nnx

from flowjax_lite.bijectors import (
    CHECKERBOARD,
    AbstractBijector,
    ActNorm,
    Chain,
    Channelwise,
    Coupling,
    MaskedAutoregressive,
    Patched,
    Permutation,
    Repeat,
    Reverse,
    Squeezed,
)
from flowjax_lite.bijectors.squeezed import token_shape
from flowjax_lite.conditioners import CausalTransformer, VisionTransformer
from flowjax_lite.conditioners.convolution import check_image_shape
from flowjax_lite.core.checks import Shape, check_choice, check_positive_int
from flowjax_lite.distributions import Flow
from flowjax_lite.flows.image_flows import of_pixels
from flowjax_lite.flows.options import AttentionOptions, flow_factory, network_options
from flowjax_lite.transformers import Affine


@flow_factory
def tarflow(
    *,
    patch_size: int = 4,
    num_layers: int = 4,
    num_attentions: int = 2,
    **options: Unpack[AttentionOptions],
) -> Flow:
    """Affine maps of patches given the patches before, by causal transformers, in turning orders.

    The density takes one pass. Sampling is sequential, patch by patch, with the keys and values of
    each attention kept, so that all steps together do the work of about one pass. Set the
    normalisation from data before training, with `flow = fl.initialize(flow, x)`.

    TarFlow: Zhai et al., 2024, arXiv:2412.06329.

    Args:
        patch_size: height and width of a patch; it divides those of the image.
        num_layers: number of layers, each with a transformer of its own; between two of them the
            order of the patches is turned around.
        num_attentions: number of layers of each transformer.
        gradient: what a backward pass keeps of each layer: "store" all that it needs, "recompute"
            its input; "invert" would run back patch by patch. See `Repeat`.

    Returns:
        The flow, up to the order of patches and the map of pixels the identity at initialisation.
    """
    shape = check_image_shape(options["image_shape"])
    tokens = token_shape(shape, patch_size)  # type: ignore[arg-type]

    def make_layer(rngs: nnx.Rngs) -> AbstractBijector:
        network = CausalTransformer(
            tokens,
            num_params=2,
            num_layers=num_attentions,
            **network_options(options),
            rngs=rngs,
        )
        return Chain([MaskedAutoregressive(Affine(), network), Reverse(tokens)])

    layers = Repeat(make_layer, num_layers, gradient=options["gradient"], rngs=options["rngs"])
    patched = Patched(layers, shape, size=patch_size)  # type: ignore[arg-type]
    return of_pixels([patched, *_normalised(shape, options)], options)


@flow_factory
def jet(
    *,
    patch_size: int = 4,
    num_layers: int = 4,
    num_attentions: int = 1,
    **options: Unpack[AttentionOptions],
) -> Flow:
    """Affine couplings of patches, whose networks are vision transformers.

    A layer is three couplings, from the latent to the data. Two are by features: a fixed random
    order cuts the numbers of each patch into halves, and each half is moved given the other. One
    is by places: the patches of one colour of a checkerboard are moved given those of the other
    colour, and the colours change places from layer to layer. Density and samples take one pass
    each. Set the normalisation from data before training, with `flow = fl.initialize(flow, x)`.

    Jet: Kolesnikov, Pinto and Tschannen, 2024, arXiv:2412.15129, without normalisations and scales,
    as published. There a coupling is y = (x + b) · 2 sigmoid(s), here the `Affine` transformer, as
    in `glow`; and a network by places reads a quarter of the tokens, as the two patches of one
    colour in a square of four are one token.

    Args:
        patch_size: height and width of a patch; twice as much divides height and width of the
            image, as a checkerboard goes by squares of 2 × 2 patches.
        num_layers: number of layers, of three couplings each.
        num_attentions: number of layers of each transformer.

    Returns:
        The flow, up to the order of numbers and the map of pixels the identity at initialisation.
    """
    shape = check_image_shape(options["image_shape"])
    rows, columns, features = grid = _patches(shape, check_positive_int(patch_size, "patch_size"))

    def coupling(shape: Shape, rngs: nnx.Rngs) -> AbstractBijector:
        """Move the second half of the channels of each place of an image, given the first."""
        tokens, channels = token_shape(shape, 1)  # type: ignore[arg-type]
        kept = channels // 2
        network = VisionTransformer(
            (tokens, kept),
            out_features=channels - kept,
            num_params=2,
            num_layers=num_attentions,
            **network_options(options),
            rngs=rngs,
        )
        return Patched(Coupling(Affine(), network), shape, size=1)  # type: ignore[arg-type]

    def make_layer(rngs: nnx.Rngs) -> AbstractBijector:
        orders = Permutation.random(features, rngs=rngs), Reverse(features)
        by_features = [
            layer
            for order in orders
            for layer in (Channelwise(order, (rows, columns)), coupling(grid, rngs))
        ]
        squares = rows // 2, columns // 2, 4 * features
        by_places = Squeezed(coupling(squares, rngs), order=CHECKERBOARD)
        # With its rows turned around, an even number, the checkerboard has its colours exchanged.
        return Chain([*by_features, by_places, Reverse(grid)])

    layers = Repeat(make_layer, num_layers, gradient=options["gradient"], rngs=options["rngs"])
    squeezed = Squeezed(layers, size=patch_size)
    return of_pixels([squeezed, *_normalised(shape, options)], options)


def _normalised(image_shape: Shape, options: AttentionOptions) -> list[AbstractBijector]:
    """The normalisation of each number of an image, if there is one."""
    if options["normalization"] is None:
        return []
    check_choice(options["normalization"], ("act",), "normalization")
    return [ActNorm(image_shape)]


def _patches(image_shape: Shape, patch_size: int) -> Shape:
    """(height, width, channels) of an image whose patches are its pixels.

    Raises:
        ValueError: the patches are no squares of 2 × 2, or a patch holds a single number.
    """
    height, width, channels = image_shape
    if height % (2 * patch_size) or width % (2 * patch_size):
        raise ValueError(
            f"image_shape is {image_shape}, and patch_size {patch_size}, of which couplings take "
            f"squares of 2 × 2: expected multiples of {2 * patch_size}; take other patches, or pad "
            f"the images"
        )
    features = patch_size**2 * channels
    if features == 1:
        raise ValueError(
            "patch_size is 1 and image_shape has 1 channel: a patch of a single number has no "
            "halves; take larger patches"
        )
    return height // patch_size, width // patch_size, features
