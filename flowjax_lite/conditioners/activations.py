"""Activation functions by name."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from flowjax_lite.core.recipe import register_functions
from flowjax_lite.numerics.scalar import elementwise

Activation = Callable[[Array], Array]


def lipswish(x: Array) -> Array:
    """x · sigmoid(x) / 1.1: smooth, with slopes between -1 and 1.

    LipSwish: Chen, Behrmann, Duvenaud and Jacobsen, 2019, arXiv:1906.02735, section 3.3.
    """
    return jax.nn.silu(x) / 1.1


def arcsinh(x: Array) -> Array:
    """log(x + √(1 + x²)), in fewer operations than jax's; beyond 1e18 it is constant.

    Small numbers have errors of 1e-7, relative to 1 and not to themselves.
    """
    size = jnp.minimum(jnp.where(x < 0, -x, x), 1e18)
    value = jnp.log(size + jnp.sqrt(1 + size * size))
    return jnp.where(x < 0, -value, value)


ACTIVATIONS: dict[str, Activation] = {
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
    "lipswish": lipswish,
    "arcsinh": arcsinh,
    "identity": jax.nn.identity,
}
register_functions(ACTIVATIONS)
# Functions that a model file can name too.
register_functions({f"jax.nn.{name}": f for name, f in vars(jax.nn).items() if callable(f)})
register_functions(
    {f"jax.numpy.{f.__name__}": f for f in (jnp.abs, jnp.arctan, jnp.cos, jnp.exp, jnp.sin)}
)
# Slopes between -1 and 1, and those among them that never decrease.
LIPSCHITZ = ("relu", "leaky_relu", "elu", "softplus", "tanh", "lipswish")
INCREASING = ("relu", "leaky_relu", "elu", "softplus", "tanh")


@dataclass(frozen=True)
class _Smooth:
    function: Activation

    def __call__(self, x: Array) -> Array:
        return elementwise(self.function, x)


# The activations whose gradient by jax keeps several numbers for each unit, as networks apply them.
_SMOOTH: dict[str, Activation] = {
    name: _Smooth(ACTIVATIONS[name])
    for name in ("elu", "gelu", "silu", "softplus", "tanh", "lipswish", "arcsinh")
}
register_functions({f"elementwise.{name}": function for name, function in _SMOOTH.items()})


def get_activation(activation: str | Activation) -> Activation:
    """The activation function of that name, or the given function, as networks apply it.

    Give a function that is defined once, not a fresh lambda: models that hold different
    function objects compile apart.

    Raises:
        ValueError: no activation has that name.
    """
    if not callable(activation):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation is {activation!r}; expected a function or one of {sorted(ACTIVATIONS)}"
            )
        activation = ACTIVATIONS[activation]
    smooth = (applied for name, applied in _SMOOTH.items() if activation is ACTIVATIONS[name])
    return next(smooth, activation)


def get_activation_among(activation: str | Activation, names: tuple[str, ...]) -> Activation:
    """The activation of that name, for a network that needs a property which only some have.

    Raises:
        ValueError: it is none of the names, nor the function of one of them.
    """
    for name in names:
        if activation in (name, ACTIVATIONS[name]):
            return get_activation(name)
    raise ValueError(f"activation is {activation!r}; expected one of {', '.join(map(repr, names))}")
