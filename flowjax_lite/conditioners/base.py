"""What all networks have in common."""

from abc import ABC, abstractmethod
from typing import Any

from jax import Array

from flowjax_lite.core.checks import Shape
from flowjax_lite.core.recipe import RecordedModule


class AbstractConditioner(RecordedModule, ABC, kind="conditioner"):
    """A network from one vector or image, and a condition, to an array.

    Attributes:
        condition_shape: shape of the condition, or None where none is taken.
    """

    condition_shape: Shape | None

    @abstractmethod
    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """Map one vector or image.

        Args:
            x: (in_dim,), or (height, width, channels).
            condition: one condition, `condition_shape`.
        """


def in_shape(network: Any) -> Shape:
    """The shape that a network takes: its in_shape, or (in_dim,) of one that takes vectors."""
    shape: Shape = getattr(network, "in_shape", None) or (network.in_dim,)
    return shape
