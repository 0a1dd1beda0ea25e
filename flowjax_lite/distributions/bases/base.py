"""The protocol that every base distribution follows, over one event."""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from numbers import Real
from typing import Any

from jax import Array

from flowjax_lite.core.checks import Shape, check_condition, check_event
from flowjax_lite.core.recipe import RecordedModule
from flowjax_lite.numerics.scalar import nearest_inside


class AbstractBase(RecordedModule, ABC):
    """The distribution of the latent variable of a flow.

    A subclass sets the two shapes in its constructor and writes `log_prob` and `sample` for a
    single event; batches are the business of `Flow`. Shapes and dtypes of the arguments are
    checked before either method runs, and samples are kept inside the support.

    Attributes:
        event_shape: shape of z.
        condition_shape: shape of the condition, or None where none is taken.
        support: ends of the interval that every entry of z lies in, or None for all numbers.
    """

    event_shape: Shape
    condition_shape: Shape | None
    support: tuple[float, float] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, check in (("log_prob", _checked_log_prob), ("sample", _checked_sample)):
            if name in cls.__dict__:
                setattr(cls, name, check(cls.__dict__[name]))

    @abstractmethod
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

    @abstractmethod
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

    def center(self, condition: Array | None = None) -> Array:
        """The event from which a temperature scales the distance of every sample.

        Args:
            condition: one condition, `condition_shape`.

        Returns:
            The mean, `event_shape`.

        Raises:
            TypeError: this is not a normal distribution.
        """
        raise TypeError(
            f"temperature has no meaning for a base of type {type(self).__name__}: it scales "
            f"normal distributions; leave it out, or build the flow on a StandardNormal"
        )


def _checked_log_prob(method: Callable[..., Array]) -> Callable[..., Array]:
    @functools.wraps(method)
    def checked(self: AbstractBase, z: Array, condition: Array | None = None) -> Array:
        z = check_event(z, self.event_shape, "z")
        return method(self, z, check_condition(condition, self.condition_shape))

    return checked


def _checked_sample(method: Callable[..., Array]) -> Callable[..., Array]:
    @functools.wraps(method)
    def checked(self: AbstractBase, key: Array, condition: Array | None = None) -> Array:
        z = method(self, key, check_condition(condition, self.condition_shape))
        return z if self.support is None else nearest_inside(z, *self.support)[0]

    return checked


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
