"""Convolutional networks on one image: to an image of equal size, to parameters, and from a vector.

They are made of the same block: a gated residual convolution behind a layer norm over channels, as
in variational autoencoders (Van den Berg et al., 2018, arXiv:1803.05649, appendix A, without its
norms) and coupling layers (Ho et al., 2019, arXiv:1902.00275, section 3.3).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.conditioners.activations import Activation, get_activation
from flowjax_lite.conditioners.base import AbstractConditioner
from flowjax_lite.conditioners.mlp import Dense, check_hidden, condition_shape
from flowjax_lite.core.checks import (
    Shape,
    check_condition,
    check_event,
    check_positive_int,
    default_dtype,
)
from flowjax_lite.numerics.convolution import Padding, convolution

_KERNEL_INIT = nnx.initializers.lecun_normal()


class Conv(nnx.Module):
    """A convolution of one image (height, width, channels), its weights zero on request."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        size: int = 3,
        stride: int = 1,
        padding: Padding = "SAME",
        zero: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        shape = size, size, in_channels, out_channels
        self.kernel = nnx.Param(jnp.zeros(shape) if zero else _KERNEL_INIT(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros(out_channels))
        self.stride, self.padding = stride, padding

    def __call__(self, x: Array) -> Array:
        y = convolution(x, self.kernel[...], self.stride, self.padding)
        return y + self.bias[...][None, None]


class GatedBlock(nnx.Module):
    """x + value · sigmoid(gate), both from a convolution; the condition moves its channels.

    It starts as the identity.
    """

    def __init__(
        self,
        channels: int,
        *,
        condition_dim: int | None,
        activation: Activation,
        rngs: nnx.Rngs,
    ) -> None:
        precise: Any = {"use_fast_variance": False, "param_dtype": default_dtype()}
        self.norm = nnx.LayerNorm(channels, **precise, rngs=rngs)
        self.inner = Conv(channels, channels, rngs=rngs)
        self.outer = Conv(channels, 2 * channels, size=1, zero=True, rngs=rngs)
        self.by_condition = (
            None
            if condition_dim is None
            else Dense(condition_dim, channels, compute_dtype="float32", rngs=rngs)
        )
        self.activation = activation

    def __call__(self, x: Array, condition: Array | None) -> Array:
        h = self.inner(self.activation(self.norm(x)))
        if self.by_condition is not None and condition is not None:
            h = h + self.by_condition(condition.astype(h.dtype))[None, None]
        value, gate = jnp.split(self.outer(self.activation(h)), 2, axis=-1)
        return x + value * jax.nn.sigmoid(gate)


class ConvNet(AbstractConditioner):
    """A network from an image to an image of the same height and width.

    The last layer starts at zero, so the flow around it starts as the identity.
    """

    def __init__(
        self,
        image_shape: Shape,
        *,
        out_channels: int,
        channels: int = 32,
        num_blocks: int = 2,
        condition_dim: int | None = None,
        activation: str | Activation = "elu",
        rngs: nnx.Rngs,
    ) -> None:
        """Build the blocks.

        Args:
            image_shape: (height, width, channels) of the input.
            out_channels: channels of the output.
            channels: channels in between.
            num_blocks: number of residual blocks.
            condition_dim: length of the condition, which enters every block; None for none.
            activation: name or function.
            rngs: source of the initial weights.
        """
        self.in_shape = check_image_shape(image_shape)
        height, width, in_channels = self.in_shape
        self.out_shape = (height, width, check_positive_int(out_channels, "out_channels"))
        check_positive_int(channels, "channels")
        self.condition_shape = condition_shape(condition_dim)
        options = _block_options(condition_dim, activation, rngs)
        self.activation = options["activation"]
        self.first = Conv(in_channels, channels, rngs=rngs)
        self.blocks = nnx.List(
            [
                GatedBlock(channels, **options)
                for _ in range(check_positive_int(num_blocks, "num_blocks"))
            ]
        )
        self.last = Conv(channels, out_channels, zero=True, rngs=rngs)

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """Map x (height, width, channels) and the condition to (height, width, out_channels)."""
        h = self.first(check_event(x, self.in_shape, "x"))
        condition = check_condition(condition, self.condition_shape)
        for block in self.blocks:
            h = block(h, condition)
        return self.last(self.activation(h))


class ConvEncoder(AbstractConditioner):
    """A network from an image to an array, such as an encoder's or the logits of classes.

    Each stage halves height and width by a convolution of stride 2, and goes through one block. A
    dense layer ends it.
    """

    def __init__(
        self,
        image_shape: Shape,
        *,
        out_shape: Shape,
        channels: tuple[int, ...] = (32, 64),
        condition_dim: int | None = None,
        activation: str | Activation = "elu",
        rngs: nnx.Rngs,
    ) -> None:
        """Build the stages.

        Args:
            image_shape: (height, width, channels) of the input.
            out_shape: shape of the output.
            channels: channels of each stage.
            condition_dim: length of the condition, which enters every block; None for none.
            activation: name or function.
            rngs: source of the initial weights.
        """
        self.in_shape = check_image_shape(image_shape)
        height, width, last = self.in_shape
        self.out_shape = tuple(out_shape)
        self.condition_shape = condition_shape(condition_dim)
        options = _block_options(condition_dim, activation, rngs)
        self.activation = options["activation"]
        downs, blocks = [], []
        for number in check_hidden(channels):
            downs.append(Conv(last, number, stride=2, rngs=rngs))
            blocks.append(GatedBlock(number, **options))
            height, width, last = -(-height // 2), -(-width // 2), number
        self.downs, self.blocks = nnx.List(downs), nnx.List(blocks)
        self.last = Dense(
            height * width * last,
            math.prod(self.out_shape),
            compute_dtype="float32",
            rngs=rngs,
        )

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """Map x (height, width, channels) and the condition to an array of out_shape."""
        h = check_event(x, self.in_shape, "x")
        condition = check_condition(condition, self.condition_shape)
        for down, block in zip(self.downs, self.blocks, strict=True):
            h = block(down(h), condition)
        return self.last(self.activation(h).ravel()).reshape(self.out_shape)


class ConvDecoder(AbstractConditioner):
    """A network from a vector to an image, such as a decoder's.

    A dense layer makes a small image. Each stage goes through one block, doubles height and width
    by repeating pixels, and convolves.
    """

    def __init__(
        self,
        in_dim: int,
        *,
        out_shape: Shape,
        channels: tuple[int, ...] = (64, 32),
        condition_dim: int | None = None,
        activation: str | Activation = "elu",
        rngs: nnx.Rngs,
    ) -> None:
        """Build the stages.

        Args:
            in_dim: length of the input.
            out_shape: (height, width, channels) of the output.
            channels: channels of each stage.
            condition_dim: length of the condition, which enters every block; None for none.
            activation: name or function.
            rngs: source of the initial weights.

        Raises:
            ValueError: height or width cannot be halved once for each stage.
        """
        self.in_dim = check_positive_int(in_dim, "in_dim")
        self.out_shape = check_image_shape(out_shape, "out_shape")
        channels = check_hidden(channels)
        height, width, last = self.out_shape
        factor = 2 ** len(channels)
        if height % factor or width % factor:
            raise ValueError(
                f"out_shape is {self.out_shape}, and each of {len(channels)} stages doubles height "
                f"and width: expected multiples of {factor}; give fewer channels, one a stage"
            )
        self.condition_shape = condition_shape(condition_dim)
        options = _block_options(condition_dim, activation, rngs)
        self.activation = options["activation"]
        self.small_shape = height // factor, width // factor, channels[0]
        self.first = Dense(in_dim, math.prod(self.small_shape), compute_dtype="float32", rngs=rngs)
        self.blocks = nnx.List([GatedBlock(number, **options) for number in channels])
        after = (*channels[1:], channels[-1])
        self.ups = nnx.List(
            [Conv(number, next_, rngs=rngs) for number, next_ in zip(channels, after, strict=True)]
        )
        self.last = Conv(channels[-1], last, rngs=rngs)

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """Map x (in_dim,) and the condition to an image of out_shape."""
        h = self.first(check_event(x, (self.in_dim,), "x")).reshape(self.small_shape)
        condition = check_condition(condition, self.condition_shape)
        for block, up in zip(self.blocks, self.ups, strict=True):
            h = up(self.activation(_doubled(block(h, condition))))
        return self.last(self.activation(h))


def check_image_shape(shape: Any, name: str = "image_shape") -> Shape:
    """Return the shape of an image as a tuple.

    Raises:
        TypeError: it has other things than whole numbers.
        ValueError: it is not (height, width, channels), of 1 at least.
    """
    if isinstance(shape, int) or len(shape) != 3:
        raise ValueError(f"{name} is {shape!r}; expected (height, width, channels)")
    return tuple(check_positive_int(length, f"a length in {name}") for length in shape)


def _block_options(
    condition_dim: int | None, activation: str | Activation, rngs: nnx.Rngs
) -> dict[str, Any]:
    return {
        "condition_dim": condition_dim,
        "activation": get_activation(activation),
        "rngs": rngs,
    }


def _doubled(x: Array) -> Array:
    """An image with every pixel repeated, twice as high and as wide."""
    return jnp.repeat(jnp.repeat(x, 2, axis=0), 2, axis=1)
