"""Activation functions by name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

Activation = Callable[[Array], Array]

ACTIVATIONS: dict[str, Activation] = {
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
}


def get_activation(activation: str | Activation) -> Activation:
    """The activation function of that name, or the given function itself.

    Give a function that is defined once, not a fresh lambda: models that hold different
    function objects compile apart.

    Raises:
        ValueError: no activation has that name.
    """
    if callable(activation):
        return activation
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"activation is {activation!r}; expected a function or one of {sorted(ACTIVATIONS)}"
        )
    return ACTIVATIONS[activation]
