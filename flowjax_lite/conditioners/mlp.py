"""Dense networks that emit the parameters of a transformer."""

import math
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.conditioners.activations import Activation, get_activation
from flowjax_lite.conditioners.base import AbstractConditioner
from flowjax_lite.core.arrays import zeros
from flowjax_lite.core.checks import Shape, check_condition, check_event, check_positive_int
from flowjax_lite.numerics.product import check_compute_dtype, product, product_of_rows
from flowjax_lite.numerics.random import lecun_normal, normal


class MLP(AbstractConditioner):
    """A multilayer perceptron from a vector, and a condition, to an array of parameters.

    The last layer starts at zero, as a rule, so the flow around it starts as the identity.
    """

    def __init__(
        self,
        in_dim: int,
        *,
        out_shape: Shape,
        hidden: tuple[int, ...] = (64, 64),
        condition_dim: int | None = None,
        activation: str | Activation = "relu",
        input_activation: str | Activation = "identity",
        compute_dtype: str = "float32",
        zero: bool = True,
        rngs: nnx.Rngs,
    ) -> None:
        """Build the layers.

        Args:
            in_dim: length of the input; 0 makes the parameters depend on the condition alone.
            out_shape: shape of the output, for a transformer (num_params, dim).
            hidden: widths of the hidden layers.
            condition_dim: length of the condition, appended to the input; None for none.
            activation: name or function.
            input_activation: name or function, of the numbers of the input, and not of the
                condition: "arcsinh" leaves small ones as they are, and of large ones the
                logarithm.
            compute_dtype: of products: "float32", "tensorfloat32" or "bfloat16"; see
                `check_compute_dtype`.
            zero: whether the last layer starts at zero. Of an encoder and a decoder it must not:
                each would wait for the other.
            rngs: source of the initial weights.
        """
        hidden = check_hidden(hidden)
        self.in_dim = check_positive_int(in_dim, "in_dim", minimum=0)
        self.condition_shape = condition_shape(condition_dim)
        self.out_shape = tuple(out_shape)
        self.activation = get_activation(activation)
        self.input_activation = get_activation(input_activation)
        widths = (in_dim + (condition_dim or 0), *hidden)
        options: dict[str, Any] = {
            "compute_dtype": check_compute_dtype(compute_dtype),
            "rngs": rngs,
        }
        self.layers = nnx.List([Dense(a, b, **options) for a, b in pairwise(widths)])
        self.last = Dense(widths[-1], math.prod(self.out_shape), zero=zero, **options)

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """Map x (in_dim,) and the condition (condition_dim,) to an array of out_shape."""
        h = _joined(*_read(self, x, condition))
        for layer in self.layers:
            h = self.activation(layer(h))
        return self.last(h).reshape(self.out_shape)


class ResidualMLP(AbstractConditioner):
    """Residual blocks of two dense layers each, the condition entering every block.

    The network of Neural Spline Flows: Durkan et al., 2019, arXiv:1906.04032, appendix B.1,
    without its gates. Each block starts as the identity, and so does the flow around it.
    """

    def __init__(
        self,
        in_dim: int,
        *,
        out_shape: Shape,
        hidden: tuple[int, ...] = (64, 64),
        condition_dim: int | None = None,
        activation: str | Activation = "relu",
        input_activation: str | Activation = "identity",
        compute_dtype: str = "float32",
        zero: bool = True,
        rngs: nnx.Rngs,
    ) -> None:
        """Build the blocks.

        Args:
            in_dim: length of the input; 0 makes the parameters depend on the condition alone.
            out_shape: shape of the output, for a transformer (num_params, dim).
            hidden: width of each residual block, all equal; (64, 64) is two blocks.
            condition_dim: length of the condition; None for none.
            activation: name or function.
            input_activation: name or function, of the numbers of the input, and not of the
                condition: "arcsinh" leaves small ones as they are, and of large ones the
                logarithm.
            compute_dtype: of products: "float32", "tensorfloat32" or "bfloat16"; see
                `check_compute_dtype`.
            zero: whether the last layer starts at zero. Of an encoder and a decoder it must not:
                each would wait for the other.
            rngs: source of the initial weights.
        """
        hidden = check_hidden(hidden, equal=True)
        width = hidden[0]
        self.in_dim = check_positive_int(in_dim, "in_dim", minimum=0)
        self.condition_shape = condition_shape(condition_dim)
        self.out_shape = tuple(out_shape)
        self.activation = get_activation(activation)
        self.input_activation = get_activation(input_activation)
        options: dict[str, Any] = {
            "compute_dtype": check_compute_dtype(compute_dtype),
            "rngs": rngs,
        }
        self.first = Dense(in_dim + (condition_dim or 0), width, **options)
        inner = width + (condition_dim or 0)
        self.inner = nnx.List([Dense(inner, width, **options) for _ in hidden])
        self.outer = nnx.List([Dense(width, width, zero=True, **options) for _ in hidden])
        self.last = Dense(width, math.prod(self.out_shape), zero=zero, **options)

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """Map x (in_dim,) and the condition (condition_dim,) to an array of out_shape."""
        x, condition = _read(self, x, condition)
        h = self.first(_joined(x, condition))
        for inner, outer in zip(self.inner, self.outer, strict=True):
            h = h + outer(self.activation(inner(_joined(self.activation(h), condition))))
        return self.last(self.activation(h)).reshape(self.out_shape)


class Dense(nnx.Module):
    """A dense layer of a vector, or of each row of (rows, in_dim).

    Its weights are zero on request, or where there is no input to weigh; or of variance one,
    however many inputs there are.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        zero: bool = False,
        unit: bool = False,
        compute_dtype: str,
        rngs: nnx.Rngs,
    ) -> None:
        shape = in_dim, out_dim
        if zero or in_dim == 0:
            self.kernel = nnx.Param(zeros(shape))
        else:
            draw = normal if unit else lecun_normal
            self.kernel = nnx.Param(draw(rngs.params(), shape))
        self.bias = nnx.Param(zeros(out_dim))
        self.compute_dtype = compute_dtype

    def __call__(self, x: Array) -> Array:
        multiply = product_of_rows if x.ndim == 2 else product
        y = multiply(x, self.kernel[...], self.compute_dtype)
        return y + jnp.broadcast_to(self.bias[...], y.shape)


def check_hidden(hidden: tuple[int, ...], *, equal: bool = False) -> tuple[int, ...]:
    """Return the widths as a tuple of at least one positive whole number.

    Raises:
        TypeError: hidden is not a sequence of whole numbers.
        ValueError: hidden is empty, a width is below 1, or widths differ where `equal`.
    """
    if isinstance(hidden, int) or not hidden:
        raise ValueError(f"hidden is {hidden!r}; expected a tuple of widths such as (64, 64)")
    widths = tuple(check_positive_int(width, "a width in hidden") for width in hidden)
    if equal and len(set(widths)) > 1:
        raise ValueError(
            f"hidden is {widths}; residual blocks need equal widths: give one width a block"
        )
    return widths


def condition_shape(condition_dim: int | None) -> Shape | None:
    """The shape of a condition of that length, None for none."""
    if condition_dim is None:
        return None
    return (check_positive_int(condition_dim, "condition_dim"),)


def _read(
    network: MLP | ResidualMLP, x: Array, condition: Array | None
) -> tuple[Array, Array | None]:
    """What the layers see of x and of the condition."""
    x = network.input_activation(check_event(x, (network.in_dim,), "x"))
    condition = check_condition(condition, network.condition_shape)
    return x, None if condition is None else condition.astype(x.dtype)


def _joined(x: Array, condition: Array | None) -> Array:
    return x if condition is None else jnp.concatenate([x, condition])
