"""Convolutions of images, whose derivatives are fast on CPU too."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array, lax

from flowjax_lite.numerics.product import product

Padding = Literal["SAME", "VALID"]


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def convolution(
    x: Array,
    kernel: Array,
    stride: int = 1,
    padding: Padding = "SAME",
    compute_dtype: str = "float32",
) -> Array:
    """Slide a kernel over an image: a cross-correlation, as networks use it.

    XLA on CPU computes the gradient by the kernel as a convolution with a window of the size of
    the image, and in a loop, as every epoch of training is one, a hundred times slower than the
    convolution itself. Here the tangents are written so that their transposes are fast:

        conv(x_dot, w) + Σ_ij shift_ij(x) w_dot[i, j],

    with a kernel of swapped axes in the first term, and matrix products in the second. Every mode
    of differentiation works, with the values of XLA's own rule, which other devices use. Second
    derivatives are right, but as slow as XLA's.

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
    return _xla(x, kernel, stride, padding, compute_dtype)


@convolution.defjvp
def _jvp(
    stride: int,
    padding: Padding,
    compute_dtype: str,
    primals: tuple[Array, Array],
    tangents: tuple[Array, Array],
) -> tuple[Array, Array]:
    (x, kernel), (x_dot, kernel_dot) = primals, tangents
    options = stride, padding, compute_dtype
    if jax.default_backend() == "cpu":
        by_image = _xla(x_dot, kernel.swapaxes(2, 3), *options, layout="HWOI")
        by_kernel = _products(x, kernel_dot, *options)
    else:
        by_image = _xla(x_dot, kernel, *options)
        by_kernel = _xla(x, kernel_dot, *options)
    return convolution(x, kernel, *options), by_image + by_kernel


def _xla(
    x: Array,
    kernel: Array,
    stride: int,
    padding: Padding,
    compute_dtype: str,
    layout: str = "HWIO",
) -> Array:
    dtype = jnp.promote_types(x.dtype, kernel.dtype)
    if compute_dtype == "bfloat16":
        x, kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    fast = compute_dtype == "tensorfloat32"
    return lax.conv_general_dilated(
        x[None],
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", layout, "NHWC"),
        precision=lax.Precision.HIGH if fast else lax.Precision.HIGHEST,
        preferred_element_type=dtype,
    )[0]


# What a backward pass keeps is the image alone, not its shifted copies.
@functools.partial(jax.checkpoint, static_argnums=(2, 3, 4), prevent_cse=False)
def _products(x: Array, kernel: Array, stride: int, padding: Padding, compute_dtype: str) -> Array:
    """The convolution as a sum of one matrix product for each place in the kernel."""
    size = kernel.shape[:2]
    pads = lax.padtype_to_pads(x.shape[:2], size, (stride, stride), padding)
    padded = jnp.pad(x, (*pads, (0, 0)))
    height, width = (
        (length - window) // stride + 1
        for length, window in zip(padded.shape[:2], size, strict=True)
    )

    def at(i: int, j: int) -> Array:
        rows, columns = (
            slice(start, start + stride * (number - 1) + 1, stride)
            for start, number in ((i, height), (j, width))
        )
        return product(padded[rows, columns], kernel[i, j], compute_dtype)

    return sum((at(i, j) for i in range(size[0]) for j in range(size[1])), jnp.zeros(()))
