"""Networks that give the velocity of a point: dx/dt = h(t, x, condition)."""

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.conditioners import MLP, ResidualMLP, get_activation
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.conditioners.mlp import Dense, check_hidden, condition_shape
from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.core.recipe import RecordedModule
from flowjax_lite.numerics.product import check_compute_dtype


class AbstractDynamics(RecordedModule, ABC, kind="dynamics"):
    """A velocity for one event.

    It must be smooth in x, or the error of a solver cannot be controlled: choose activations
    such as "tanh", "softplus" or "silu".

    Attributes:
        event_shape: shape of x and of its velocity.
        condition_shape: shape of the condition, or None where none is taken.
    """

    event_shape: tuple[int, ...]
    condition_shape: tuple[int, ...] | None

    @abstractmethod
    def __call__(self, time: Array, x: Array, condition: Array | None = None) -> Array:
        """The velocity at a time.

        Args:
            time: a scalar, from 0 at the latent side to 1 at the data side.
            x: one event, `event_shape`.
            condition: one condition, `condition_shape`.

        Returns:
            dx/dt, `event_shape`.
        """


class MLPDynamics(AbstractDynamics):
    """A multilayer perceptron that takes the time beside x and the condition.

    The last layer starts at zero: nothing moves, and the flow around it starts as the identity.
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden: tuple[int, ...] = (64, 64),
        condition_dim: int | None = None,
        activation: str | Activation = "softplus",
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Build the network.

        Args:
            dim: length of x.
            hidden: widths of the hidden layers.
            condition_dim: length of the condition; None for none.
            activation: name or function, smooth.
            compute_dtype: of products; see `conditioners.check_compute_dtype`.
            rngs: source of the initial weights.
        """
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = condition_shape(condition_dim)
        self.network = MLP(
            dim,
            out_shape=(dim,),
            hidden=hidden,
            condition_dim=1 + (condition_dim or 0),
            activation=activation,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )

    def __call__(self, time: Array, x: Array, condition: Array | None = None) -> Array:
        return self.network(x, _beside(time[None], x, condition))


class ConcatSquash(AbstractDynamics):
    """Dense layers with a gate and a shift that depend on the time and the condition.

        layer(h) = (W h + b) * sigmoid(V s + c) + U s,   s = (t, condition)

    The last layer's W, b and U start at zero, so the flow around it starts as the identity.

    FFJORD: Grathwohl, Chen, Bettencourt, Sutskever and Duvenaud, 2019, arXiv:1810.01367,
    appendix B ("concatsquash" in its experiments).
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden: tuple[int, ...] = (64, 64),
        condition_dim: int | None = None,
        activation: str | Activation = "softplus",
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Build the layers.

        Args:
            dim: length of x.
            hidden: widths of the hidden layers.
            condition_dim: length of the condition; None for none.
            activation: name or function, smooth.
            compute_dtype: of products; see `conditioners.check_compute_dtype`.
            rngs: source of the initial weights.
        """
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = condition_shape(condition_dim)
        self.activation = get_activation(activation)
        check_compute_dtype(compute_dtype)
        widths = (dim, *check_hidden(hidden), dim)
        steered_by = 1 + (condition_dim or 0)
        self.layers = nnx.List(
            [
                _ConcatSquashLayer(
                    *pair,
                    steered_by=steered_by,
                    zero=index == len(hidden),
                    compute_dtype=compute_dtype,
                    rngs=rngs,
                )
                for index, pair in enumerate(pairwise(widths))
            ]
        )

    def __call__(self, time: Array, x: Array, condition: Array | None = None) -> Array:
        steering = _beside(time[None], x, condition)
        *inner, last = self.layers
        for layer in inner:
            x = self.activation(layer(x, steering))
        return last(x, steering)


class _ConcatSquashLayer(nnx.Module):
    def __init__(
        self, in_dim: int, out_dim: int, *, steered_by: int, zero: bool, **options: Any
    ) -> None:
        self.dense = Dense(in_dim, out_dim, zero=zero, **options)
        self.gate = Dense(steered_by, out_dim, **options)
        self.shift = Dense(steered_by, out_dim, zero=zero, **options)

    def __call__(self, x: Array, steering: Array) -> Array:
        return self.dense(x) * jax.nn.sigmoid(self.gate(steering)) + self.shift(steering)


class ResidualDynamics(AbstractDynamics):
    """Residual blocks that take sines and cosines of the time, and the condition.

    The frequencies are π, 2π, 4π, …: the slowest is half a turn between latent and data. The
    last layer starts at zero, so the flow around it starts as the identity.
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden: tuple[int, ...] = (64, 64),
        num_frequencies: int = 3,
        condition_dim: int | None = None,
        activation: str | Activation = "silu",
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Build the blocks.

        Args:
            dim: length of x.
            hidden: width of each residual block, all equal.
            num_frequencies: number of sines, and of cosines, of the time.
            condition_dim: length of the condition; None for none.
            activation: name or function, smooth.
            compute_dtype: of products; see `conditioners.check_compute_dtype`.
            rngs: source of the initial weights.
        """
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = condition_shape(condition_dim)
        self.num_frequencies = check_positive_int(num_frequencies, "num_frequencies")
        self.network = ResidualMLP(
            dim,
            out_shape=(dim,),
            hidden=hidden,
            condition_dim=2 * num_frequencies + (condition_dim or 0),
            activation=activation,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )

    def __call__(self, time: Array, x: Array, condition: Array | None = None) -> Array:
        angles = jnp.pi * 2.0 ** jnp.arange(self.num_frequencies, dtype=time.dtype) * time
        features = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)])
        return self.network(x, _beside(features, x, condition))


def _beside(features: Array, x: Array, condition: Array | None) -> Array:
    """What steers a network besides x: features of the time, and the condition."""
    parts = [features] if condition is None else [features, condition]
    return jnp.concatenate([part.astype(x.dtype) for part in parts])
