"""Image flows: couplings at several scales, each of which leaves half of its numbers behind.

An event is (height, width, channels), from the data to the latent. A scale squeezes squares of
pixels into channels, transforms them, and hands the first half of the channels on to the next one;
what it leaves behind is latent. The flows differ in the layers of a scale.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Unpack, get_args

from flax import nnx

from flowjax_lite.bijectors import (
    CHECKERBOARD,
    PLU,
    AbstractBijector,
    ActNorm,
    BatchNorm,
    Chain,
    Channelwise,
    Coupling,
    FirstChannels,
    Independent,
    Repeat,
    Reverse,
    Sigmoid,
    Squeezed,
    Standardize,
)
from flowjax_lite.bijectors.repeat import Gradient
from flowjax_lite.conditioners import ConvNet, GivenImage, GlowNet, WeightNormConvNet, ZeroConvNet
from flowjax_lite.conditioners.convolution import AbstractImageNet, check_image_shape
from flowjax_lite.core.checks import Shape, check_choice, check_positive_int
from flowjax_lite.distributions import Flow, StandardNormal
from flowjax_lite.distributions.bases.base import check_number
from flowjax_lite.flows.options import (
    ImageOptions,
    ScaleOptions,
    amortizer_options,
    flow_factory,
)
from flowjax_lite.numerics.product import ComputeDtype
from flowjax_lite.transformers import AbstractTransformer, Affine, LogisticMixture

Normalization = Literal["batch", "act"]
NORMALIZATIONS: tuple[str, ...] = get_args(Normalization)
# Standard deviation of a logistic variable, whose sigmoid is uniform.
_LOGISTIC = math.pi / math.sqrt(3)
# Standard deviation of a uniform level, nearly, as a part of all levels.
_UNIT = 0.25


@flow_factory
def realnvp_image(
    *,
    num_layers: int = 3,
    channels: int = 32,
    num_blocks: int = 2,
    normalization: Normalization = "batch",
    **options: Unpack[ScaleOptions],
) -> Flow:
    """Affine couplings by checkerboards and by channels, at several scales.

    A scale is, from the data to the latent, num_layers couplings by a checkerboard and num_layers
    by channels; the last one has num_layers + 1 by a checkerboard alone. A normalisation stands
    before each coupling.

    RealNVP: Dinh, Sohl-Dickstein and Bengio, 2017, arXiv:1605.08803, sections 3.4 to 3.7.

    Args:
        num_layers: number of couplings by each partition, in each scale.
        channels: of the networks of the first scale; they double with each scale.
        num_blocks: number of residual blocks of each network.
        normalization: "batch" for `BatchNorm`, as published, or "act" for `ActNorm`, which
            `initialize` sets from data before training, and which takes half of the time.

    Returns:
        The flow, the identity map at initialisation but for the map of pixels.
    """
    check_choice(normalization, NORMALIZATIONS, "normalization")
    norm = ActNorm if normalization == "act" else BatchNorm

    def network(half: dict[str, Any], scale: int, rngs: nnx.Rngs) -> AbstractImageNet:
        widths = {"channels": channels * 2**scale, "num_blocks": num_blocks}
        return WeightNormConvNet(**half, **widths, rngs=rngs)

    return _by_two_partitions(Affine(), network, norm, num_layers, options)


@flow_factory
def flowpp_image(
    *,
    num_layers: int = 3,
    num_components: int = 8,
    channels: int = 32,
    num_blocks: int = 2,
    **options: Unpack[ScaleOptions],
) -> Flow:
    """Couplings by mixtures of logistic distribution functions, with gated networks.

    The partitions are those of `realnvp_image`. The density takes one pass, and so do samples,
    whose every layer solves for its output. Set the normalisations from data before training, with
    `flow = fl.initialize(flow, x)`.

    Flow++: Ho, Chen, Srinivas, Duan and Abbeel, 2019, arXiv:1902.00275, sections 3.2 and 3.3,
    without its attention; its noise is `dequantizer`.

    Args:
        num_layers: number of couplings by each partition, in each scale.
        num_components: number of components of each mixture, at least 2.
        channels: of the networks.
        num_blocks: number of residual blocks of each network.

    Returns:
        The flow, the identity map at initialisation but for the map of pixels.
    """

    def network(half: dict[str, Any], scale: int, rngs: nnx.Rngs) -> AbstractImageNet:
        return ConvNet(**half, channels=channels, num_blocks=num_blocks, rngs=rngs)

    mixture = LogisticMixture(num_components)
    return _by_two_partitions(mixture, network, ActNorm, num_layers, options)


# From the options of a network that a coupling needs, and the number of the scale.
MakeNetwork = Callable[[dict[str, Any], int, nnx.Rngs], AbstractImageNet]


def _by_two_partitions(
    transformer: AbstractTransformer,
    make_network: MakeNetwork,
    norm: type[ActNorm] | type[BatchNorm],
    num_layers: int,
    options: ScaleOptions,
) -> Flow:
    """Couplings by checkerboards, then by channels, in each scale; see `realnvp_image`."""
    check_positive_int(num_layers, "num_layers")

    def couplings(shape: Shape, scale: int, number: int) -> AbstractBijector:
        *leading, depth = shape
        half = _of_half(shape, transformer, options)

        def make_layer(rngs: nnx.Rngs) -> AbstractBijector:
            coupling = Coupling(transformer, make_network(half, scale, rngs))
            others = (Channelwise(layer, leading) for layer in (Reverse(depth), norm(depth)))
            return Chain([coupling, *others])

        layers = Repeat(make_layer, number, gradient=options["gradient"], rngs=options["rngs"])
        # The halves change places after each layer: an odd number of times would leave them so.
        return Chain([layers, Channelwise(Reverse(depth), leading)]) if number % 2 else layers

    def make_scale(shape: Shape, scale: int, rest: AbstractBijector | None) -> AbstractBijector:
        number = num_layers if rest else num_layers + 1
        checkerboard = Squeezed(couplings(shape, scale, number), order=CHECKERBOARD)
        if rest is None:
            return checkerboard
        by_channels = Squeezed(couplings(shape, scale, num_layers))
        return Chain([Squeezed(rest, order=CHECKERBOARD), by_channels, checkerboard])

    return _at_scales(make_scale, options)


@flow_factory
def glow(*, num_layers: int = 8, channels: int = 64, **options: Unpack[ScaleOptions]) -> Flow:
    """Steps of a normalisation, a linear map of channels and a coupling, at several scales.

    What a scale leaves behind is normal given what goes on, with a learned location and scale; so
    is the latent of the last scale, given the condition. Set the normalisations from data before
    training, with `flow = fl.initialize(flow, x)`.

    Glow: Kingma and Dhariwal, 2018, arXiv:1807.03039, section 3.

    Args:
        num_layers: number of steps in each scale.
        channels: of the networks.

    Returns:
        The flow, up to the fixed order of channels and the map of pixels the identity at
        initialisation.
    """

    def make_scale(shape: Shape, scale: int, rest: AbstractBijector | None) -> AbstractBijector:
        height, width, depth = shape
        half = _of_half(shape, Affine(), options)

        def spread(layer: AbstractBijector) -> AbstractBijector:
            return Channelwise(layer, (height, width))

        def make_step(rngs: nnx.Rngs) -> AbstractBijector:
            coupling = Coupling(Affine(), GlowNet(**half, channels=channels, rngs=rngs))
            others = (spread(layer) for layer in (PLU(depth, rngs=rngs), ActNorm(depth)))
            return Chain([coupling, *others])

        rngs = options["rngs"]
        steps = Repeat(make_step, num_layers, gradient=options["gradient"], rngs=rngs)
        if rest is None:
            given = amortizer_options(options)
            prior = [spread(Independent(Affine(), depth, **given, rngs=rngs))]
        else:
            prior = [rest, Coupling(Affine(), ZeroConvNet(**half, rngs=rngs))]
        return Squeezed(Chain([*prior, steps]))

    return _at_scales(make_scale, options)


def dequantizer(
    image_shape: tuple[int, int, int],
    *,
    num_layers: int = 4,
    channels: int = 32,
    num_blocks: int = 2,
    gradient: Gradient = "store",
    compute_dtype: ComputeDtype = "float32",
    rngs: nnx.Rngs,
) -> Flow:
    """Noise in (0, 1) given an image, for variational dequantisation: see `Dequantized`.

    Affine couplings by a checkerboard of logistic units, whose networks see the image.

    Flow++: Ho, Chen, Srinivas, Duan and Abbeel, 2019, arXiv:1902.00275, section 3.1.

    Args:
        image_shape: (height, width, channels), even sides.
        num_layers: number of couplings.
        channels: of their networks.
        num_blocks: number of residual blocks of each network.
        gradient: as for `glow`.
        compute_dtype: as for `glow`.
        rngs: source of the initial weights.

    Returns:
        The flow, of events and conditions of image_shape; nearly uniform at initialisation.

    Raises:
        ValueError: a side is odd.
    """
    shape = check_image_shape(image_shape)
    height, width, depth = _squeezed(shape, 1)

    def make_layer(rngs: nnx.Rngs) -> AbstractBijector:
        network = ConvNet(
            (height, width, depth // 2 + depth),
            out_channels=depth // 2,
            num_params=2,
            channels=channels,
            num_blocks=num_blocks,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        reverse = Channelwise(Reverse(depth), (height, width))
        return Chain([Coupling(Affine(), GivenImage(network, shape)), reverse])

    layers = Repeat(make_layer, num_layers, gradient=gradient, rngs=rngs)
    to_noise = [Standardize(shape, loc=0.0, scale=_LOGISTIC), Sigmoid(shape)]
    bijector = Chain([Squeezed(layers, order=CHECKERBOARD), *to_noise])
    return Flow(StandardNormal(shape), bijector)


# From the squeezed shape of a scale, its number, and the flow of the coarser ones, of equal shape.
MakeScale = Callable[[Shape, int, AbstractBijector | None], AbstractBijector]


def _at_scales(make_scale: MakeScale, options: ScaleOptions) -> Flow:
    """The flow of all scales, closed by the map of pixels.

    Args:
        make_scale: builds the bijector of a scale; what it is given of the coarser scales acts on
            the first half of the channels.
        options: those of the flow.

    Raises:
        ValueError: height or width cannot be halved once for each scale.
    """
    shape = check_image_shape(options["image_shape"])
    num_scales = check_positive_int(options["num_scales"], "num_scales")
    _squeezed(shape, num_scales)

    def bijector(shape: Shape, scale: int) -> AbstractBijector:
        height, width, depth = _squeezed(shape, 1)
        rest = None
        if scale + 1 < num_scales:
            rest = FirstChannels(bijector((height, width, depth // 2), scale + 1), depth)
        return make_scale((height, width, depth), scale, rest)

    return of_pixels([bijector(shape, 0)], options)


def _of_half(
    shape: Shape, transformer: AbstractTransformer, options: ScaleOptions
) -> dict[str, Any]:
    """The options of a network that reads the first half of the channels and moves the other."""
    *leading, depth = shape
    return {
        "image_shape": (*leading, depth // 2),
        "out_channels": depth // 2,
        "num_params": transformer.num_params,
        "condition_dim": options["condition_dim"],
        "compute_dtype": options["compute_dtype"],
    }


def _squeezed(shape: Shape, num_scales: int) -> Shape:
    """The shape of an image whose squares of 2 × 2 pixels became channels.

    Raises:
        ValueError: height or width cannot be halved so often.
    """
    height, width, channels = shape
    factor = 2**num_scales
    if height % factor or width % factor:
        raise ValueError(
            f"image_shape is {shape}, and each of num_scales={num_scales} scales halves height and "
            f"width: expected multiples of {factor}; take fewer scales, or pad the images"
        )
    return height // 2, width // 2, 4 * channels


def of_pixels(bijectors: Sequence[AbstractBijector], options: ImageOptions) -> Flow:
    """A flow of images in [0, num_levels), from bijectors of images of unit scale."""
    shape, inside = bijectors[0].event_shape, options["logit"]
    levels = check_positive_int(options["num_levels"], "num_levels")
    to_pixels: list[AbstractBijector]
    if inside is None:
        to_pixels = [Standardize(shape, loc=levels / 2, scale=_UNIT * levels)]
    elif 0 < check_number(inside, "logit") < 0.5:
        scale = levels / (1 - 2 * inside)
        to_pixels = [
            Standardize(shape, loc=0.0, scale=_LOGISTIC),
            Sigmoid(shape),
            Standardize(shape, loc=-inside * scale, scale=scale),
        ]
    else:
        raise ValueError(
            f"logit is {inside}; expected a number above 0 and below 0.5, such as 0.01, or None"
        )
    chain = Chain([*bijectors, *to_pixels])
    return Flow(StandardNormal(shape), chain, condition_map=options["condition_map"])
