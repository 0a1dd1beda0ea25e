"""Fixed maps of each entry by itself, the same for all of them."""

import math
from abc import abstractmethod
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.core.checks import check_event_shape
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.numerics.scalar import sigmoid_log_derivative, softplus_inverse


class AbstractElementwise(AbstractBijector):
    """A map that acts on each entry of an event by itself.

    `dim` is the length of a vector, or the shape of an event of any rank: `Affine(8)` acts on
    vectors, `Affine((32, 32, 3))` on images.
    """

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
        y, log_derivative = self._forward(x)
        return y, jnp.sum(jnp.broadcast_to(log_derivative, x.shape))

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        x, log_derivative = self._inverse(y)
        return x, jnp.sum(jnp.broadcast_to(log_derivative, y.shape))


class Identity(AbstractElementwise):
    """The map that changes nothing."""

    @remembers_recipe
    def __init__(self, dim: int | Sequence[int]) -> None:
        super().__init__(dim)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return x, jnp.zeros((), x.dtype)

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        return y, jnp.zeros((), y.dtype)


class Exp(AbstractElementwise):
    """The exponential: real numbers to positive ones."""

    @remembers_recipe
    def __init__(self, dim: int | Sequence[int]) -> None:
        super().__init__(dim)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return jnp.exp(x), x

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        x = jnp.log(y)
        return x, -x


class Softplus(AbstractElementwise):
    """log(1 + exp(x)): real numbers to positive ones, the identity far to the right."""

    @remembers_recipe
    def __init__(self, dim: int | Sequence[int]) -> None:
        super().__init__(dim)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return jax.nn.softplus(x), jax.nn.log_sigmoid(x)

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        return softplus_inverse(y), -jnp.log(-jnp.expm1(-y))


class Sigmoid(AbstractElementwise):
    """The logistic function: real numbers to (0, 1)."""

    @remembers_recipe
    def __init__(self, dim: int | Sequence[int]) -> None:
        super().__init__(dim)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return jax.nn.sigmoid(x), sigmoid_log_derivative(x)

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        return _logit(y)


class Logit(AbstractElementwise):
    """The inverse of the logistic function: (0, 1) to real numbers."""

    @remembers_recipe
    def __init__(self, dim: int | Sequence[int]) -> None:
        super().__init__(dim)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return _logit(x)

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        return jax.nn.sigmoid(y), sigmoid_log_derivative(y)


class Tanh(AbstractElementwise):
    """The hyperbolic tangent: real numbers to (-1, 1)."""

    @remembers_recipe
    def __init__(self, dim: int | Sequence[int]) -> None:
        super().__init__(dim)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return jnp.tanh(x), math.log(4) + sigmoid_log_derivative(2 * x)

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        return jnp.arctanh(y), -jnp.log1p(-y) - jnp.log1p(y)


def _logit(y: Array) -> tuple[Array, Array]:
    log_y, log_rest = jnp.log(y), jnp.log1p(-y)
    return log_y - log_rest, -log_y - log_rest
