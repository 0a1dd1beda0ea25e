"""The parameters of a layer: learned as they are, or made from a condition."""

import inspect
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.conditioners.mlp import MLP


class AmortizedParams(nnx.Module):
    """One learned array, plus the output of a network that sees the condition, if there is one.

    It starts at the initial value for every condition. A layer with such parameters learns one
    map, or one for each condition, as variational inference with a flow for each observation needs.

    Attributes:
        condition_shape: shape of the condition, or None where none is taken.
    """

    def __init__(
        self,
        initial: Array,
        *,
        condition_dim: int | None = None,
        hidden: tuple[int, ...] = (64, 64),
        activation: str | Activation = "relu",
        compute_dtype: str = "float32",
        rngs: nnx.Rngs | None = None,
    ) -> None:
        """Build the array, and the network where there is a condition.

        Args:
            initial: the value at the start, of any shape.
            condition_dim: length of the condition; None for none, and then the settings of the
                network below must be left at their defaults.
            hidden: widths of the network's hidden layers.
            activation: name or function.
            compute_dtype: of the network's products; see `check_compute_dtype`.
            rngs: source of the network's weights; needed with a condition.

        Raises:
            TypeError: there is a condition and no rngs.
            ValueError: there is no condition, and a setting of the network is given.
        """
        self.value = nnx.Param(jnp.asarray(initial))
        if condition_dim is None:
            _check_defaults(hidden=hidden, activation=activation, compute_dtype=compute_dtype)
            self.network, self.condition_shape = None, None
            return
        if rngs is None:
            raise TypeError("rngs is missing; a condition needs a network: pass rngs=nnx.Rngs(0)")
        options: dict[str, Any] = {"activation": activation, "compute_dtype": compute_dtype}
        self.network = MLP(
            0,
            out_shape=self.value.shape,
            hidden=hidden,
            condition_dim=condition_dim,
            rngs=rngs,
            **options,
        )
        self.condition_shape = self.network.condition_shape

    def __call__(self, condition: Array | None = None) -> Array:
        """The parameters, of the initial value's shape, for one condition."""
        value = self.value[...]
        if self.network is None:
            return value
        return value + self.network(jnp.zeros(0, value.dtype), condition)


def _check_defaults(**settings: Any) -> None:
    """Raise where a setting of the network is given, and there is no network."""
    parameters = inspect.signature(AmortizedParams.__init__).parameters
    for name, value in settings.items():
        if value != parameters[name].default:
            raise ValueError(
                f"{name} is {value!r}, which has no effect without condition_dim: leave it out"
            )
