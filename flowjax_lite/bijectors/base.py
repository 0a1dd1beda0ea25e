"""The protocol that every bijector follows: one event in, one event and a log-determinant out."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Self, TypeAlias, final

import jax
import jax.numpy as jnp
from jax import Array

from flowjax_lite.core.checks import check_condition, check_event
from flowjax_lite.core.pytree import holds
from flowjax_lite.core.recipe import RecordedModule


class Part(NamedTuple):
    """One layer of a composition, and the direction in which the composition's forward runs it."""

    bijector: "AbstractBijector"
    forward: bool

    def turned(self) -> "Part":
        """The same layer, run in the other direction."""
        return self._replace(forward=not self.forward)

    def apply(
        self, value: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        """Run the layer in its direction, with the condition if it takes one."""
        bijector = self.bijector
        function = bijector.forward_and_log_det if self.forward else bijector.inverse_and_log_det
        return function(value, condition_of(bijector, condition), key)


# From a normalising layer, the batch that reaches it, weights, and whether it comes in the forward
# direction, to the layer to use in its place.
Renew: TypeAlias = Callable[["AbstractNormalization", Array, Array, bool], "AbstractNormalization"]


class AbstractBijector(RecordedModule, ABC):
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

    A bijector made of bijectors says so by three methods, which answer for a single layer here:
    `parts` lists them, for all who follow an event from layer to layer; `scales` says which latent
    entries they hand on to coarser scales; and `_renewed` sends a batch through them, whose
    statistics set the normalising layers inside.

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

    def parts(self) -> list[Part]:
        """The layers that the map applies one after the other, in the order of `forward`.

        A composition asks each of its bijectors for the parts of that one, and puts them
        together; a layer that is no composition is its only part.
        """
        return [Part(self, forward=True)]

    def scales(self) -> Array:
        """How often each latent entry was handed on to a coarser scale: 0 where it never was.

        A composition asks each of its bijectors; `FirstChannels` hands on.

        Returns:
            event_shape, whole numbers.
        """
        return jnp.zeros(self.event_shape, int)

    @final
    def renewed(
        self,
        renew: Renew,
        batch: Array,
        condition: Array | None,
        weights: Array,
        *,
        forward: bool = False,
    ) -> tuple[Self, Array]:
        """Send a batch through, replacing each normalising layer by one made from what reaches it.

        Args:
            renew: makes the new layer.
            batch: (rows, *event_shape).
            condition: (rows, *condition_shape), or None.
            weights: (rows,).
            forward: the direction; by default from the data side to the latent side.

        Returns:
            A bijector of the same structure, and the batch as it leaves that.

        Raises:
            TypeError: a normalising layer lies inside a bijector that has no `_renewed`.
        """
        condition = condition_of(self, condition)
        if holds(self, AbstractNormalization):
            return self._renewed(renew, batch, condition, weights, forward=forward)
        return self, jax.vmap(self.forward if forward else self.inverse)(batch, condition)

    def _renewed(
        self, renew: Renew, batch: Array, condition: Array | None, weights: Array, *, forward: bool
    ) -> tuple[Self, Array]:
        """What `renewed` does where normalising layers are inside: one after another."""
        raise TypeError(
            f"{type(self).__name__} holds a normalising layer, and a batch cannot be followed "
            f"inside it: build the layer into a Chain, Repeat, Invert or Channelwise, or write "
            f"the method _renewed of {type(self).__name__}"
        )


class AbstractNormalization(AbstractBijector):
    """A layer whose constants are statistics of the batches that reach it."""

    @abstractmethod
    def initialized(self, batch: Array, weights: Array, *, forward: bool) -> Self:
        """A new layer that gives this batch mean zero and variance one.

        Args:
            batch: (rows, *event_shape), what reaches the layer.
            weights: (rows,), not negative; rows of weight zero have no influence.
            forward: whether the batch goes through the layer in its forward direction, as it
                does inside `Invert`.
        """

    def _renewed(
        self, renew: Renew, batch: Array, condition: Array | None, weights: Array, *, forward: bool
    ) -> tuple[Self, Array]:
        layer = renew(self, batch, weights, forward)
        batch = jax.vmap(layer.forward if forward else layer.inverse)(batch, condition)
        return layer, batch  # type: ignore[return-value]


def condition_of(part: Any, condition: Array | None) -> Array | None:
    """The condition for a part, a bijector or a base, that takes one, and None for the others."""
    return None if part.condition_shape is None else condition


def split_key(key: Array | None, number: int) -> list[Array | None]:
    """A key for each part, if there is one."""
    return [None] * number if key is None else list(jax.random.split(key, number))


def with_parts(module: Any, **parts: Any) -> Any:
    """A copy with other modules in some attributes: the same structure, down to the recipe."""
    copy = jax.tree.map(lambda leaf: leaf, module)
    for name, part in parts.items():
        setattr(copy, name, part)
    return copy


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
