"""Convolutions of images, whose derivatives are fast on CPU too.

XLA on CPU computes the gradient by the kernel as a convolution with a window of the size of the
image, and in a loop, as every epoch of training is one, a hundred times slower than the convolution
itself. Here it is one matrix product for each row i of the kernel,

    kernel_bar[i] = [shift_i0(x), shift_i1(x), …]ᵀ y_bar,

with the pixels of all images as rows. A rule by `jax.custom_jvp` would be shorter, but sees one
image: under `vmap` its products sum over two axes, images and pixels, for which XLA copies a factor
in another order first. The primitive below is given all images at once.
"""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array, lax

from flowjax_lite.numerics.bilinear import bilinear_primitive
from flowjax_lite.numerics.product import product

Padding = Literal["SAME", "VALID"]
Pads = tuple[tuple[int, int], ...]  # zeros above and below, left and right


def convolution(
    x: Array,
    kernel: Array,
    stride: int = 1,
    padding: Padding = "SAME",
    compute_dtype: str = "float32",
) -> Array:
    """Slide a kernel over an image: a cross-correlation, as networks use it.

    Every mode of differentiation works, with the values of XLA's own rule, which other devices
    than CPUs use. Second derivatives are right, but as slow as XLA's.

    Args:
        x: (height, width, channels), one image; `jax.vmap` makes one convolution of a batch.
        kernel: (kernel height, kernel width, channels, channels of the output).
        stride: distance between neighbouring windows, in pixels.
        padding: "SAME" puts zeros around the image, so that the output has ⌈height / stride⌉
            rows; "VALID" takes only windows that lie within the image.
        compute_dtype: of products, in both passes: see `check_compute_dtype`.

    Returns:
        (height of the output, width of the output, channels of the output).
    """
    dtype = jnp.promote_types(x.dtype, kernel.dtype)
    images, kernel = x[None].astype(dtype), kernel.astype(dtype)
    pads = tuple(lax.padtype_to_pads(x.shape[:2], kernel.shape[:2], (stride, stride), padding))
    options = {"stride": stride, "pads": pads, "compute_dtype": compute_dtype}
    if jax.default_backend() == "cpu":
        return _convolution_p.bind(images, kernel, **options)[0]
    return _slide(images, kernel, pads, compute_dtype, stride)[0]


def _forward(images: Array, kernel: Array, *, stride: int, pads: Pads, compute_dtype: str) -> Array:
    if kernel.shape[:2] == (1, 1) and stride == 1:  # on two cores twice as fast
        return product(images, kernel[0, 0], compute_dtype)
    return _slide(images, kernel, pads, compute_dtype, stride)


def _by_images(
    y_bar: Array, images: Any, kernel: Array, *, stride: int, pads: Pads, compute_dtype: str
) -> Array:
    """The gradient by the images: the kernel, turned around, slides over that by the output."""
    sides = zip(images.aval.shape[1:3], y_bar.shape[1:3], kernel.shape[:2], pads, strict=True)
    pads = tuple(
        (size - 1 - low, length + low - stride * (windows - 1) - 1)
        for length, windows, size, (low, _) in sides
    )
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    if stride == 1:
        return _forward(y_bar, turned, stride=1, pads=pads, compute_dtype=compute_dtype)
    return _slide(y_bar, turned, pads, compute_dtype, dilation=stride)


def _by_kernel(
    y_bar: Array, images: Array, kernel: Any, *, stride: int, pads: Pads, compute_dtype: str
) -> Array:
    """The gradient by the kernel: products of images and y_bar, the narrower of the two shifted."""
    height, width, channels, channels_out = shape = kernel.aval.shape
    if stride > 1 or channels < channels_out:
        sums = _products(_shifted(images, shape[:2], stride, pads), y_bar, compute_dtype)
        return sums.reshape(shape)
    # To shift y_bar back gives the same sums as to shift the images forth.
    opposite = tuple(
        (size - 1 - low, size - 1 - high) for size, (low, high) in zip(shape[:2], pads, strict=True)
    )
    sums = _products(_shifted(y_bar, shape[:2], 1, opposite), images, compute_dtype)
    return sums.reshape(height, width, channels_out, channels)[::-1, ::-1].swapaxes(2, 3)


def _products(shifted: list[Array], images: Array, compute_dtype: str) -> Array:
    """Sums over all pixels: (products, columns of what is shifted, channels of the images)."""
    pixels = images.reshape(-1, images.shape[-1])
    if shifted[0].shape[1] < pixels.shape[1]:  # fewer columns first: up to ten times as fast
        return jnp.stack([product(rows.T, pixels, compute_dtype) for rows in shifted])
    sums = jnp.stack([product(pixels.T, rows, compute_dtype) for rows in shifted])
    return sums.swapaxes(1, 2)


def _shifted(images: Array, size: Sequence[int], stride: int, pads: Pads) -> list[Array]:
    """What the places in each row of a kernel see: (all windows, its width · channels)."""
    padded = jnp.pad(images, ((0, 0), *pads, (0, 0)))
    rows, columns = (
        [slice(start, start + length - window + 1, stride) for start in range(window)]
        for length, window in zip(padded.shape[1:3], size, strict=True)
    )
    joined = [jnp.concatenate([padded[:, row, column] for column in columns], -1) for row in rows]
    return [each.reshape(-1, each.shape[-1]) for each in joined]


def _slide(
    images: Array,
    kernel: Array,
    pads: Pads,
    compute_dtype: str,
    stride: int = 1,
    dilation: int = 1,
) -> Array:
    """XLA's own operation; `dilation` puts zeros between the pixels."""
    dtype = images.dtype
    if compute_dtype == "bfloat16":
        images, kernel = images.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    fast = compute_dtype == "tensorfloat32"
    return lax.conv_general_dilated(
        images,
        kernel,
        (stride, stride),
        pads,
        lhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGH if fast else lax.Precision.HIGHEST,
        preferred_element_type=dtype,
    )


def _batch(
    arrays: tuple[Array, Array], axes: tuple[int | None, int | None], **options: Any
) -> tuple[Array, int]:
    """One convolution of more images; one after the other if each has a kernel of its own."""
    (images, kernel), (of_images, of_kernel) = arrays, axes
    if of_images is not None:
        images = jnp.moveaxis(images, of_images, 0)
    if of_kernel is None:
        outputs = _convolution_p.bind(images.reshape(-1, *images.shape[2:]), kernel, **options)
        return outputs.reshape(*images.shape[:2], *outputs.shape[1:]), 0
    mapped = (images if of_images is not None else None, jnp.moveaxis(kernel, of_kernel, 0))

    def one(pair: tuple[Array | None, Array]) -> Array:
        outputs: Array = _convolution_p.bind(
            images if pair[0] is None else pair[0], pair[1], **options
        )
        return outputs

    return lax.map(one, mapped), 0


_convolution_p = bilinear_primitive(
    "convolution", _forward, by_first=_by_images, by_second=_by_kernel, batch=_batch
)
