"""A network with a Lipschitz constant below one, for invertible residual layers."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.conditioners.activations import LIPSCHITZ, Activation, get_activation_among
from flowjax_lite.conditioners.base import AbstractConditioner
from flowjax_lite.conditioners.mlp import Dense, check_hidden, condition_shape
from flowjax_lite.core.arrays import zeros
from flowjax_lite.core.checks import check_condition, check_event, check_positive_int
from flowjax_lite.numerics.product import check_compute_dtype, product
from flowjax_lite.numerics.random import lecun_normal
from flowjax_lite.numerics.scalar import log_scale
from flowjax_lite.numerics.spectral import spectral_norm_bound

_MAX_LOG_SHARPNESS = 3.0


class LipschitzMLP(AbstractConditioner):
    """A multilayer perceptron from (dim,) to (dim,) with a Lipschitz constant below one.

    Each matrix whose spectral norm may be too large is scaled down, by a bound of that norm, and
    each activation has slopes between -1 and 1. The bound of the network therefore holds for all
    weights and inputs, to rounding. The condition moves the first layer's units and is not
    bounded. The last layer starts at zero.

    Each unit learns how sharply its activation bends: σ(b·h) / b has the slopes of σ for every
    b > 0. It is the β of LipSwish: Chen, Behrmann, Duvenaud and Jacobsen, 2019,
    arXiv:1906.02735, section 3.3. It has no effect on "relu" and "leaky_relu".
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden: tuple[int, ...] = (64, 64),
        condition_dim: int | None = None,
        coefficient: float = 0.9,
        activation: str | Activation = "lipswish",
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Build the layers.

        Args:
            dim: length of the input and of the output.
            hidden: widths of the hidden layers.
            condition_dim: length of the condition; None for none.
            coefficient: bound of the Lipschitz constant, between 0 and 1.
            activation: "relu", "leaky_relu", "elu", "softplus", "tanh" or "lipswish".
            compute_dtype: of products: "float32", "tensorfloat32" or "bfloat16"; see
                `check_compute_dtype`. Bounds are always computed in full.
            rngs: source of the initial weights.

        Raises:
            ValueError: coefficient is not between 0 and 1, or activation is another.
        """
        if not 0 < coefficient < 1:
            raise ValueError(
                f"coefficient is {coefficient}; expected a number between 0 and 1, such as 0.9: "
                f"the map x + g(x) is invertible for certain only below 1"
            )
        self.dim = check_positive_int(dim, "dim")
        self.hidden = check_hidden(hidden)
        self.condition_shape = condition_shape(condition_dim)
        self.coefficient = coefficient
        self.activation = get_activation_among(activation, LIPSCHITZ)
        self.compute_dtype = check_compute_dtype(compute_dtype)
        options: dict[str, Any] = {"compute_dtype": compute_dtype, "rngs": rngs}
        widths = (dim, *self.hidden)
        self.layers = nnx.List([Dense(a, b, **options) for a, b in pairwise(widths)])
        self.last = Dense(widths[-1], dim, zero=True, **options)
        self.sharpness = nnx.List([nnx.Param(zeros(width)) for width in self.hidden])
        self.condition_kernel = (
            None
            if condition_dim is None
            else nnx.Param(lecun_normal(rngs.params(), (condition_dim, self.hidden[0])))
        )

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """Map x (dim,), given the condition (condition_dim,), to (dim,)."""
        return self.given(condition)(check_event(x, (self.dim,), "x"))

    def given(
        self, condition: Array | None = None, *, compute_dtype: str | None = None
    ) -> Callable[[Array], Array]:
        """The network as a function of x alone, its bounds computed once for all its calls.

        Args:
            condition: (condition_dim,).
            compute_dtype: of products, where it is another than the network's.

        Returns:
            A function from (dim,) to (dim,).
        """
        condition = check_condition(condition, self.condition_shape)
        compute_dtype = compute_dtype or self.compute_dtype
        layers = [*self.layers, self.last]
        max_norm = self.coefficient ** (1 / len(layers))  # of each layer; their product bounds all
        kernels, offsets = [], []
        for layer in layers:
            kernel = layer.kernel[...]
            excess = jnp.maximum(1.0, spectral_norm_bound(kernel) / max_norm)
            kernels.append(kernel / excess)
            offsets.append(layer.bias[...])
        if self.condition_kernel is not None and condition is not None:
            offsets[0] += product(condition, self.condition_kernel[...], compute_dtype)
        sharpness = [jnp.exp(log_scale(raw[...], _MAX_LOG_SHARPNESS)) for raw in self.sharpness]

        def network(x: Array) -> Array:
            for kernel, offset, b in zip(kernels, offsets, [*sharpness, None], strict=True):
                x = product(x, kernel, compute_dtype) + offset
                if b is not None:
                    x = self.activation(b * x) / b
            return x

        return network
