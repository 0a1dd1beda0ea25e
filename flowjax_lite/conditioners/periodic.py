"""Networks that see angles as points on the circle."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.conditioners.base import AbstractConditioner
from flowjax_lite.conditioners.mlp import MLP, ResidualMLP
from flowjax_lite.core.checks import check_columns, check_event


class Periodic(AbstractConditioner):
    """A network that sees cosine and sine of each angle, so that full turns change nothing.

    Attributes:
        in_dim: length of the input, one entry for each angle.
        out_shape: the network's.
        condition_shape: the network's.
    """

    def __init__(self, network: MLP | ResidualMLP, circular: Sequence[int]) -> None:
        """Put the angles of an input on the circle.

        Args:
            network: its input is the other entries, then the cosines and the sines: its in_dim
                is the length of the input plus the number of angles.
            circular: which entries of the input are angles.

        Raises:
            ValueError: an index is doubled or out of range.
        """
        self.in_dim = network.in_dim - len(circular)
        self.circular = check_columns(circular, self.in_dim, "circular")
        self.out_shape = network.out_shape
        self.condition_shape = network.condition_shape
        self.network = network

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """Map x (in_dim,) and the condition (condition_dim,) to an array of out_shape."""
        x = check_event(x, (self.in_dim,), "x")
        angles = x[np.asarray(self.circular, int)]
        others = jnp.delete(x, np.asarray(self.circular, int))
        inputs = jnp.concatenate([others, jnp.cos(angles), jnp.sin(angles)])
        return self.network(inputs, condition)
