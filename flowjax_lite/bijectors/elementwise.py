"""Fixed maps of each entry by itself, the same for all of them."""

import math
from abc import abstractmethod
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.core.checks import check_event, check_event_shape
from flowjax_lite.numerics.scalar import nearest_inside, sigmoid_log_derivative, softplus_inverse

End = float | np.ndarray  # of an interval, for all entries or for each


class AbstractElementwise(AbstractBijector):
    """A map that acts on each entry of an event by itself.

    `dim` is the length of a vector, or the shape of an event of any rank: `Affine(8)` acts on
    vectors, `Affine((32, 32, 3))` on images. A subclass whose domain or image is not all real
    numbers names the open intervals; the base class then does as the protocol asks with points
    outside of them, and keeps rounding from reaching an end.

    Attributes:
        domain: ends of the open interval of x, for all entries or for each.
        image: ends of the open interval of y.
    """

    domain: tuple[End, End] = (-math.inf, math.inf)
    image: tuple[End, End] = (-math.inf, math.inf)

    def __init__(self, dim: int | Sequence[int]) -> None:
        self.event_shape = check_event_shape(dim)
        self.condition_shape = None

    @abstractmethod
    def _forward(self, x: Array) -> tuple[Array, Array]:
        """y and log |dy/dx|, entry by entry; the second may be one number for all."""

    @abstractmethod
    def _inverse(self, y: Array) -> tuple[Array, Array]:
        """x and log |dx/dy|, entry by entry; the second may be one number for all."""

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        y, log_derivative, _ = self._map(x, forward=True)
        return y, jnp.sum(log_derivative)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        x, log_derivative, _ = self._map(y, forward=False)
        return x, jnp.sum(log_derivative)

    # Without a log-determinant, only NaN can say that a point was outside.

    def forward(self, x: Array, condition: Array | None = None) -> Array:
        y, _, outside = self._map(check_event(x, self.event_shape, "x"), forward=True)
        return jnp.where(outside, jnp.nan, y)

    def inverse(self, y: Array, condition: Array | None = None) -> Array:
        x, _, outside = self._map(check_event(y, self.event_shape, "y"), forward=False)
        return jnp.where(outside, jnp.nan, x)

    def _map(self, value: Array, *, forward: bool) -> tuple[Array, Array, Array]:
        """Images and log-derivatives, entry by entry, and whether an entry was outside."""
        sides = self.domain, self.image
        source, target = sides if forward else reversed(sides)
        value, outside = nearest_inside(value, *source)
        result, log_derivative = (self._forward if forward else self._inverse)(value)
        result, _ = nearest_inside(result, *target)  # rounding must not reach an end
        log_derivative = jnp.broadcast_to(log_derivative, value.shape)
        return result, jnp.where(outside, -jnp.inf, log_derivative), outside


class Identity(AbstractElementwise):
    """The map that changes nothing."""

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return x, jnp.zeros((), x.dtype)

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        return y, jnp.zeros((), y.dtype)


class Exp(AbstractElementwise):
    """The exponential: real numbers to positive ones."""

    image = (0.0, math.inf)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return jnp.exp(x), x

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        x = jnp.log(y)
        return x, -x


class Softplus(AbstractElementwise):
    """log(1 + exp(x)): real numbers to positive ones, the identity far to the right."""

    image = (0.0, math.inf)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return jax.nn.softplus(x), jax.nn.log_sigmoid(x)

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        return softplus_inverse(y), -jnp.log(-jnp.expm1(-y))


class Sigmoid(AbstractElementwise):
    """The logistic function: real numbers to (0, 1)."""

    image = (0.0, 1.0)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return jax.nn.sigmoid(x), sigmoid_log_derivative(x)

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        return _logit(y)


class Logit(AbstractElementwise):
    """The inverse of the logistic function: (0, 1) to real numbers."""

    domain = (0.0, 1.0)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return _logit(x)

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        return jax.nn.sigmoid(y), sigmoid_log_derivative(y)


class Tanh(AbstractElementwise):
    """The hyperbolic tangent: real numbers to (-1, 1)."""

    image = (-1.0, 1.0)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return jnp.tanh(x), math.log(4) + sigmoid_log_derivative(2 * x)

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        return jnp.arctanh(y), -jnp.log1p(-y) - jnp.log1p(y)


def _logit(y: Array) -> tuple[Array, Array]:
    log_y, log_rest = jnp.log(y), jnp.log1p(-y)
    return log_y - log_rest, -log_y - log_rest
