"""The protocol that every bijector follows: one event in, one event and a log-determinant out."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from flax import nnx
from jax import Array

from flowjax_lite.core.checks import check_condition, check_event


class Buffer(nnx.Variable[Array]):
    """An array that belongs to a model and is saved with it, but is never trained."""


class AbstractBijector(nnx.Module, ABC):
    """An invertible map y = f(x) on one event, with the log-determinant of its Jacobian.

    `forward` always leads from the latent side to the data side, so a density uses the
    inverse. A subclass sets the two shapes in its constructor and writes the two abstract
    methods for a single event; batches are the business of `jax.vmap`. Shapes and dtypes of
    the arguments are checked before either method runs.

    A point that the map does not reach, such as a negative number behind an exponential, has the
    density 0: its log-determinant is -inf, and in place of the image that it does not have comes
    that of the nearest point that is reached, a finite number, so that -inf is what the layers
    before make of it too. The same holds for points outside the domain, which `Invert` makes the
    outside of an image. Ends of open intervals are outside. NaN stays NaN.

    Where an event alone costs less than the
    compiler finds out by itself, as along a differential equation, a subclass also writes
    `forward` and `inverse`.

    Attributes:
        event_shape: shape of x and of y.
        condition_shape: shape of the condition, or None where none is taken.
    """

    event_shape: tuple[int, ...]
    condition_shape: tuple[int, ...] | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, argument in (("forward_and_log_det", "x"), ("inverse_and_log_det", "y")):
            if name in cls.__dict__:
                setattr(cls, name, _checked(cls.__dict__[name], argument))

    @abstractmethod
    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        """Map the latent side to the data side.

        Args:
            x: one event, `event_shape`.
            condition: one condition, `condition_shape`.
            key: randomness for stochastic estimators; None asks for the exact result.

        Returns:
            y of `event_shape`, and the scalar log |det ∂y/∂x|.

        Raises:
            TypeError: x or the condition is not floating-point, or a condition is missing.
            ValueError: x or the condition has the wrong shape.
        """

    @abstractmethod
    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        """Map the data side to the latent side.

        Args:
            y: one event, `event_shape`.
            condition: one condition, `condition_shape`.
            key: randomness for stochastic estimators; None asks for the exact result.

        Returns:
            x of `event_shape`, and the scalar log |det ∂x/∂y|.

        Raises:
            TypeError: y or the condition is not floating-point, or a condition is missing.
            ValueError: y or the condition has the wrong shape.
        """

    def forward(self, x: Array, condition: Array | None = None) -> Array:
        """The event on the data side alone; under `jit` the log-determinant costs nothing."""
        return self.forward_and_log_det(x, condition)[0]

    def inverse(self, y: Array, condition: Array | None = None) -> Array:
        """The event on the latent side alone; under `jit` the log-determinant costs nothing."""
        return self.inverse_and_log_det(y, condition)[0]


def _checked(method: Callable[..., Any], argument: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def checked(
        self: AbstractBijector,
        value: Array,
        condition: Array | None = None,
        key: Array | None = None,
    ) -> tuple[Array, Array]:
        value = check_event(value, self.event_shape, argument)
        condition = check_condition(condition, self.condition_shape)
        return method(self, value, condition, key)

    return checked
