"""Convolutional networks on one image: to an image of equal size, to an array, and from a vector.

Some fill coupling layers, each as its paper has it: `ConvNet` (Flow++), `WeightNormConvNet`
(RealNVP), `GlowNet` and `ZeroConvNet` (Glow); `GivenImage` lets one of them see another image, too.
`ConvEncoder` and `ConvDecoder`, as in variational autoencoders (Van den Berg et al., 2018,
arXiv:1803.05649, appendix A, without its norms), are made of the same blocks as `ConvNet`.
"""

import math
from abc import abstractmethod
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from flowjax_lite.conditioners.activations import Activation, get_activation
from flowjax_lite.conditioners.base import AbstractConditioner
from flowjax_lite.conditioners.layer_norm import LayerNorm
from flowjax_lite.conditioners.mlp import Dense, check_hidden, condition_shape
from flowjax_lite.core.arrays import zeros
from flowjax_lite.core.checks import (
    Shape,
    check_condition,
    check_event,
    check_positive_int,
)
from flowjax_lite.numerics.convolution import Padding, convolution
from flowjax_lite.numerics.pixels import space_to_depth
from flowjax_lite.numerics.product import check_compute_dtype
from flowjax_lite.numerics.random import lecun_normal


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
        compute_dtype: str = "float32",
        zero: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        shape = size, size, in_channels, out_channels
        self.kernel = nnx.Param(zeros(shape) if zero else lecun_normal(rngs.params(), shape))
        self.bias = nnx.Param(zeros(out_channels))
        self.options = stride, padding, compute_dtype

    def __call__(self, x: Array) -> Array:
        y = convolution(x, self.kernel[...], *self.options)
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
        compute_dtype: str,
        rngs: nnx.Rngs,
    ) -> None:
        options: dict[str, Any] = {"compute_dtype": compute_dtype, "rngs": rngs}
        self.norm = LayerNorm(channels, rngs=rngs)
        self.inner = Conv(channels, channels, **options)
        self.outer = Conv(channels, 2 * channels, size=1, zero=True, **options)
        self.by_condition = _by_condition(condition_dim, channels, **options)
        self.activation = activation

    def __call__(self, x: Array, condition: Array | None) -> Array:
        h = self.inner(self.activation(self.norm(x)))
        h = _moved(h, self.by_condition, condition)
        value, gate = jnp.split(self.outer(self.activation(h)), 2, axis=-1)
        return x + value * jax.nn.sigmoid(gate)


class WeightNormConv(nnx.Module):
    """A convolution whose kernel is a direction and a length for each output channel.

    Salimans and Kingma, 2016, arXiv:1602.07868, equation 2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        compute_dtype: str,
        zero: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        shape = 3, 3, in_channels, out_channels
        self.direction = nnx.Param(lecun_normal(rngs.params(), shape))
        norms = jnp.sqrt(jnp.sum(self.direction[...] ** 2, axis=(0, 1, 2)))
        self.length = nnx.Param(jnp.zeros_like(norms) if zero else norms)
        self.bias = nnx.Param(zeros(out_channels))
        self.compute_dtype = compute_dtype

    def __call__(self, x: Array) -> Array:
        direction = self.direction[...]
        squares = jnp.sum(direction**2, axis=(0, 1, 2), keepdims=True)
        tiny = jnp.finfo(squares.dtype).tiny
        kernel = direction * lax.rsqrt(squares + tiny) * self.length[...][None, None, None]
        y = convolution(x, kernel, compute_dtype=self.compute_dtype)
        return y + self.bias[...][None, None]


class WeightNormBlock(nnx.Module):
    """x + two convolutions with normalised weights, each behind an activation.

    It starts as the identity.
    """

    def __init__(
        self,
        channels: int,
        *,
        condition_dim: int | None,
        activation: Activation,
        compute_dtype: str,
        rngs: nnx.Rngs,
    ) -> None:
        options: dict[str, Any] = {"compute_dtype": compute_dtype, "rngs": rngs}
        self.inner = WeightNormConv(channels, channels, **options)
        self.outer = WeightNormConv(channels, channels, zero=True, **options)
        self.by_condition = _by_condition(condition_dim, channels, **options)
        self.activation = activation

    def __call__(self, x: Array, condition: Array | None) -> Array:
        h = _moved(self.inner(self.activation(x)), self.by_condition, condition)
        return x + self.outer(self.activation(h))


class AbstractImageNet(AbstractConditioner):
    """A network from an image to an image of equal size, or to parameters of its pixels.

    Its last convolution starts at zero, so the flow around it starts as the identity. A subclass
    sets the layers, and maps an image to one with `self.last_channels` channels.
    """

    last_channels: int
    out_shape: Shape

    def _set_shapes(
        self,
        image_shape: Shape,
        out_channels: int,
        num_params: int | None,
        condition_dim: int | None,
    ) -> None:
        self.in_shape = height, width, _ = check_image_shape(image_shape)
        check_positive_int(out_channels, "out_channels")
        self.last_channels, self.out_shape = out_channels, (height, width, out_channels)
        if num_params is not None:
            self.last_channels *= check_positive_int(num_params, "num_params")
            self.out_shape = (num_params, *self.out_shape)
        self.condition_shape = condition_shape(condition_dim)

    @abstractmethod
    def _image(self, x: Array, condition: Array | None) -> Array:
        """(height, width, last_channels), from x and the condition, which are checked."""

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """Map x (height, width, channels) and the condition to an array of out_shape."""
        x = check_event(x, self.in_shape, "x")
        y = self._image(x, check_condition(condition, self.condition_shape))
        if len(self.out_shape) == 3:
            return y
        return jnp.moveaxis(y.reshape(*y.shape[:2], self.out_shape[0], -1), 2, 0)


class AbstractResidualConvNet(AbstractImageNet):
    """A convolution, residual blocks, and a convolution to the output.

    A subclass says what they are made of.
    """

    convolution: ClassVar[type[Conv] | type[WeightNormConv]]
    block: ClassVar[type[GatedBlock] | type[WeightNormBlock]]

    def _build(
        self,
        *,
        channels: int,
        num_blocks: int,
        condition_dim: int | None,
        activation: str | Activation,
        compute_dtype: str,
        rngs: nnx.Rngs,
    ) -> None:
        check_positive_int(channels, "channels")
        number = check_positive_int(num_blocks, "num_blocks")
        options = _block_options(condition_dim, activation, compute_dtype, rngs)
        self.activation = options["activation"]
        ends: dict[str, Any] = {"compute_dtype": compute_dtype, "rngs": rngs}
        self.first = self.convolution(self.in_shape[-1], channels, **ends)
        self.blocks = nnx.List([self.block(channels, **options) for _ in range(number)])
        self.last = self.convolution(channels, self.last_channels, zero=True, **ends)

    def _image(self, x: Array, condition: Array | None) -> Array:
        h = self.first(x)
        for block in self.blocks:
            h = block(h, condition)
        return self.last(self.activation(h))


class ConvNet(AbstractResidualConvNet):
    """Gated residual convolutions behind layer norms over channels.

    Flow++: Ho, Chen, Srinivas, Duan and Abbeel, 2019, arXiv:1902.00275, section 3.3, without its
    attention and its dropout.
    """

    convolution, block = Conv, GatedBlock

    def __init__(
        self,
        image_shape: Shape,
        *,
        out_channels: int,
        num_params: int | None = None,
        channels: int = 32,
        num_blocks: int = 2,
        condition_dim: int | None = None,
        activation: str | Activation = "elu",
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Build the blocks.

        Args:
            image_shape: (height, width, channels) of the input.
            out_channels: channels of the output.
            num_params: the output has so many numbers for each pixel and channel, (num_params,
                height, width, out_channels), as a `Coupling` takes them; None for an image.
            channels: channels in between.
            num_blocks: number of residual blocks.
            condition_dim: length of the condition, which enters every block; None for none.
            activation: name or function.
            compute_dtype: of products with weights: "float32", "tensorfloat32" or "bfloat16"; see
                `check_compute_dtype`.
            rngs: source of the initial weights.
        """
        self._set_shapes(image_shape, out_channels, num_params, condition_dim)
        self._build(
            channels=channels,
            num_blocks=num_blocks,
            condition_dim=condition_dim,
            activation=activation,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )


class WeightNormConvNet(AbstractResidualConvNet):
    """Residual convolutions with normalised weights, which need no norm of activations.

    RealNVP: Dinh, Sohl-Dickstein and Bengio, 2017, arXiv:1605.08803, section 4.1. Its networks also
    hold batch norms, by which the density of one image would depend on others; they are left out.
    """

    convolution, block = WeightNormConv, WeightNormBlock

    def __init__(
        self,
        image_shape: Shape,
        *,
        out_channels: int,
        num_params: int | None = None,
        channels: int = 32,
        num_blocks: int = 2,
        condition_dim: int | None = None,
        activation: str | Activation = "relu",
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Build the blocks.

        Args:
            image_shape: as for `ConvNet`, also the following ones.
            out_channels: as there.
            num_params: as there.
            channels: as there.
            num_blocks: as there; each holds two convolutions.
            condition_dim: as there.
            activation: as there.
            compute_dtype: as there.
            rngs: as there.
        """
        self._set_shapes(image_shape, out_channels, num_params, condition_dim)
        self._build(
            channels=channels,
            num_blocks=num_blocks,
            condition_dim=condition_dim,
            activation=activation,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )


class GlowNet(AbstractImageNet):
    """Three convolutions, of 3 × 3, 1 × 1 and 3 × 3 pixels.

    Glow: Kingma and Dhariwal, 2018, arXiv:1807.03039, appendix B, without the normalisations
    inside, which a batch would have to initialise.
    """

    def __init__(
        self,
        image_shape: Shape,
        *,
        out_channels: int,
        num_params: int | None = None,
        channels: int = 64,
        condition_dim: int | None = None,
        activation: str | Activation = "relu",
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Build the layers.

        Args:
            image_shape: as for `ConvNet`, also the following ones.
            out_channels: as there.
            num_params: as there.
            channels: as there; 512 in the paper.
            condition_dim: as there; it moves the channels after the first convolution.
            activation: as there.
            compute_dtype: as there.
            rngs: as there.
        """
        self._set_shapes(image_shape, out_channels, num_params, condition_dim)
        check_positive_int(channels, "channels")
        options: dict[str, Any] = {
            "compute_dtype": check_compute_dtype(compute_dtype),
            "rngs": rngs,
        }
        self.activation = get_activation(activation)
        self.first = Conv(self.in_shape[-1], channels, **options)
        self.by_condition = _by_condition(condition_dim, channels, **options)
        self.middle = Conv(channels, channels, size=1, **options)
        self.last = Conv(channels, self.last_channels, zero=True, **options)

    def _image(self, x: Array, condition: Array | None) -> Array:
        h = self.activation(_moved(self.first(x), self.by_condition, condition))
        return self.last(self.activation(self.middle(h)))


class ZeroConvNet(AbstractImageNet):
    """One convolution of 3 × 3 pixels, such as that by which Glow predicts what it factors out.

    Glow: Kingma and Dhariwal, 2018, arXiv:1807.03039, section 3.
    """

    def __init__(
        self,
        image_shape: Shape,
        *,
        out_channels: int,
        num_params: int | None = None,
        condition_dim: int | None = None,
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Build the layer.

        Args:
            image_shape: as for `ConvNet`, also the following ones.
            out_channels: as there.
            num_params: as there.
            condition_dim: as there; it moves the channels of the output.
            compute_dtype: as there.
            rngs: as there.
        """
        self._set_shapes(image_shape, out_channels, num_params, condition_dim)
        options: dict[str, Any] = {
            "compute_dtype": check_compute_dtype(compute_dtype),
            "zero": True,
            "rngs": rngs,
        }
        self.last = Conv(self.in_shape[-1], self.last_channels, **options)
        self.by_condition = _by_condition(condition_dim, self.last_channels, **options)

    def _image(self, x: Array, condition: Array | None) -> Array:
        return _moved(self.last(x), self.by_condition, condition)


class GivenImage(AbstractConditioner):
    """A network whose condition is an image, which it sees beside its input.

    The condition may be higher and wider than the input: its squares of pixels become channels.
    """

    def __init__(self, network: AbstractImageNet, condition_shape: Shape) -> None:
        """Share out the channels that a network takes.

        Args:
            network: a network without a condition, of images (height, width, channels).
            condition_shape: (size · height, size · width, channels of the condition), for some
                whole number size; what is left of the network's channels is the input's.

        Raises:
            ValueError: shapes do not fit together.
        """
        height, width, channels = network.in_shape
        shape = check_image_shape(condition_shape, "condition_shape")
        self.size = shape[0] // height
        own = channels - self.size**2 * shape[2]
        if shape[:2] != (self.size * height, self.size * width) or own < 1:
            raise ValueError(
                f"condition_shape is {shape}, and the network takes {network.in_shape}: expected "
                f"sides that are the same multiple of its sides, and fewer channels, "
                f"counting each pixel of a square"
            )
        if network.condition_shape is not None:
            raise ValueError("the network takes a condition of its own: build it without")
        self.network, self.in_shape = network, (height, width, own)
        self.condition_shape, self.out_shape = shape, network.out_shape

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """Map x (height, width, channels) and the condition to an array of out_shape."""
        x = check_event(x, self.in_shape, "x")
        condition = check_condition(condition, self.condition_shape)
        assert condition is not None
        seen = space_to_depth(condition.astype(x.dtype), self.size, range(self.size**2))
        return self.network(jnp.concatenate([x, seen], axis=-1))


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
        options = _block_options(condition_dim, activation, "float32", rngs)
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
        options = _block_options(condition_dim, activation, "float32", rngs)
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
    condition_dim: int | None,
    activation: str | Activation,
    compute_dtype: str,
    rngs: nnx.Rngs,
) -> dict[str, Any]:
    return {
        "condition_dim": condition_dim,
        "activation": get_activation(activation),
        "compute_dtype": check_compute_dtype(compute_dtype),
        "rngs": rngs,
    }


def _by_condition(
    condition_dim: int | None,
    channels: int,
    *,
    compute_dtype: str,
    zero: bool = False,
    rngs: nnx.Rngs,
) -> Dense | None:
    """The map from a condition to what moves the channels, if there is one."""
    if condition_dim is None:
        return None
    return Dense(condition_dim, channels, compute_dtype=compute_dtype, zero=zero, rngs=rngs)


def _moved(h: Array, by_condition: Dense | None, condition: Array | None) -> Array:
    """An image whose channels the condition has moved, the same at every pixel."""
    if by_condition is None or condition is None:
        return h
    return h + by_condition(condition.astype(h.dtype))[None, None]


def _doubled(x: Array) -> Array:
    """An image with every pixel repeated, twice as high and as wide."""
    return jnp.repeat(jnp.repeat(x, 2, axis=0), 2, axis=1)
