"""The protocol that every base distribution follows, over one event."""

import math
from abc import ABC, abstractmethod
from numbers import Real
from typing import Any, final

import distrax
from flax import nnx
from jax import Array

from flowjax_lite.core.checks import Shape, check_condition, check_event
from flowjax_lite.core.recipe import Recipe
from flowjax_lite.numerics.scalar import nearest_inside


class AbstractBase(nnx.Module, ABC):
    """The distribution of the latent variable of a flow.

    A subclass sets the two shapes in its constructor and builds, from its parameters, a
    distrax distribution over a single event; batches are the business of `Flow`.

    Attributes:
        event_shape: shape of z.
        condition_shape: shape of the condition, or None where none is taken.
        support: ends of the interval that every entry of z lies in, or None for all numbers.
        recipe: the call that built this module, where it can be repeated.
    """

    event_shape: Shape
    condition_shape: Shape | None
    support: tuple[float, float] | None = None
    recipe: Recipe | None = None

    @abstractmethod
    def distribution(self, condition: Array | None = None) -> distrax.Distribution:
        """Build the distribution from the parameters.

        Args:
            condition: one condition, `condition_shape`.

        Returns:
            A distribution with this module's event shape and an empty batch shape.
        """

    @final
    def log_prob(self, z: Array, condition: Array | None = None) -> Array:
        """The log-density of one event.

        Args:
            z: one event, `event_shape`.
            condition: one condition, `condition_shape`.

        Returns:
            A scalar, in nats; -inf outside the support.

        Raises:
            TypeError: z or the condition is not floating-point, or a condition is missing.
            ValueError: z or the condition has the wrong shape.
        """
        z = check_event(z, self.event_shape, "z")
        condition = check_condition(condition, self.condition_shape)
        return self.distribution(condition).log_prob(z)

    @final
    def sample(self, key: Array, condition: Array | None = None) -> Array:
        """Draw one event.

        Args:
            key: randomness.
            condition: one condition, `condition_shape`.

        Returns:
            z of `event_shape`, strictly inside the support, where every map has an image.

        Raises:
            TypeError: the condition is missing or not floating-point.
            ValueError: the condition has the wrong shape, or none is taken.
        """
        condition = check_condition(condition, self.condition_shape)
        z = self.distribution(condition).sample(seed=key)
        return z if self.support is None else nearest_inside(z, *self.support)[0]


def check_number(value: Any, name: str, *, above: float = -math.inf) -> float:
    """Return value if it is a finite number greater than `above`.

    Raises:
        TypeError: value is not a number.
        ValueError: value is infinite, NaN or too small.
    """
    expected = "a finite number" if above == -math.inf else f"a finite number above {above:g}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}; expected {expected}")
    number = float(value)
    if not (math.isfinite(number) and number > above):
        raise ValueError(f"{name} is {value}; expected {expected}")
    return number
