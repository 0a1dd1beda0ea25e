"""Attention flows: images as sequences of patches, each transformed given those before it."""

from typing import Unpack

from flax import nnx

from flowjax_lite.bijectors import (
    AbstractBijector,
    Chain,
    MaskedAutoregressive,
    Patched,
    Repeat,
    Reverse,
)
from flowjax_lite.bijectors.squeezed import token_shape
from flowjax_lite.conditioners import CausalTransformer
from flowjax_lite.conditioners.convolution import check_image_shape
from flowjax_lite.conditioners.product import ComputeDtype
from flowjax_lite.distributions import Flow
from flowjax_lite.flows.image_flows import of_pixels
from flowjax_lite.flows.options import ImageOptions, flow_factory
from flowjax_lite.transformers import Affine


@flow_factory
def tarflow(
    *,
    patch_size: int = 4,
    num_layers: int = 4,
    width: int = 128,
    num_attentions: int = 2,
    num_heads: int = 4,
    compute_dtype: ComputeDtype = "float32",
    **options: Unpack[ImageOptions],
) -> Flow:
    """Affine maps of patches given the patches before, by causal transformers, in turning orders.

    The density takes one pass. Sampling is sequential, patch by patch, with the keys and values of
    each attention kept, so that all steps together do the work of about one pass.

    TarFlow: Zhai et al., 2024, arXiv:2412.06329.

    Args:
        patch_size: height and width of a patch; it divides those of the image.
        num_layers: number of layers, each with a transformer of its own; between two of them the
            order of the patches is turned around.
        width: of the activations of a patch, a multiple of num_heads.
        num_attentions: number of layers of each transformer.
        num_heads: number of heads of each attention.
        gradient: what a backward pass keeps of each layer: "store" all that it needs, "recompute"
            its input; "invert" would run back patch by patch. See `Repeat`.
        compute_dtype: precision of products with weights: "float32", "tensorfloat32" or
            "bfloat16"; see `conditioners.check_compute_dtype`.

    Returns:
        The flow, up to the order of patches and the map of pixels the identity at initialisation.
    """
    shape = check_image_shape(options["image_shape"])
    tokens = token_shape(shape, patch_size)  # type: ignore[arg-type]

    def make_layer(rngs: nnx.Rngs) -> AbstractBijector:
        network = CausalTransformer(
            tokens,
            num_params=2,
            width=width,
            num_layers=num_attentions,
            num_heads=num_heads,
            condition_dim=options["condition_dim"],
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        return Chain([MaskedAutoregressive(Affine(), network), Reverse(tokens)])

    layers = Repeat(make_layer, num_layers, gradient=options["gradient"], rngs=options["rngs"])
    return of_pixels(Patched(layers, shape, size=patch_size), options)  # type: ignore[arg-type]
