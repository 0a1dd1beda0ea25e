"""The protocol of transformers, scalar monotone maps whose parameters come from outside."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import jax.numpy as jnp
from jax import Array

from flowjax_lite.core.recipe import Recorded
from flowjax_lite.numerics.root import monotone_root


class AbstractTransformer(Recorded, ABC, kind="transformer"):
    """A strictly increasing scalar map y = τ(x; θ), applied elementwise.

    Transformers are frozen dataclasses: their fields are static settings, their parameters
    θ are arguments. Parameters of zero give the identity, so a network whose last layer
    starts at zero makes an identity flow. Coupling and autoregressive layers take any of them.
    """

    @property
    @abstractmethod
    def num_params(self) -> int:
        """Number of parameters per scalar."""

    @abstractmethod
    def forward_and_log_det(self, params: Array, x: Array) -> tuple[Array, Array]:
        """Map x to y.

        Args:
            params: (num_params, *x.shape), unconstrained.
            x: any shape.

        Returns:
            y and log |∂y/∂x|, both of x's shape.
        """

    @abstractmethod
    def inverse_and_log_det(self, params: Array, y: Array) -> tuple[Array, Array]:
        """Map y to x.

        Args:
            params: (num_params, *y.shape), unconstrained.
            y: any shape.

        Returns:
            x and log |∂x/∂y|, both of y's shape.
        """


class AbstractNumericalForward(AbstractTransformer):
    """A transformer with a closed form in the direction of densities, x = τ⁻¹(y), alone.

    A subclass writes `inverse_and_log_det`, which must be increasing on all real numbers. The
    forward direction finds its root to the precision of the dtype, with derivatives by the
    implicit function theorem; a value whose root is not found becomes NaN, that one alone.
    """

    @final
    def forward_and_log_det(self, params: Array, x: Array) -> tuple[Array, Array]:
        finite = jnp.isfinite(x)
        target = jnp.where(finite, x, 0.0)

        def distance(y: Array) -> Array:
            return self.inverse_and_log_det(params, y)[0] - target

        y = jnp.where(finite, monotone_root(distance, target), x)
        return y, -self.inverse_and_log_det(params, y)[1]


def with_linear_tails(
    function: Callable[[Array], tuple[Array, Array]], value: Array, bound: float
) -> tuple[Array, Array]:
    """Evaluate a map inside [-bound, bound], and its tangents at the two ends outside.

    The map never sees a value outside, so nothing in it overflows far out.

    Args:
        function: elementwise, from values inside to their images and to the map's slope.
        value: any shape.
        bound: half-width of the interval.

    Returns:
        The images and the logarithms of the slopes, of value's shape.
    """
    inside = jnp.clip(value, -bound, bound)
    finite = jnp.isfinite(value)
    beyond = jnp.where(finite, value - inside, 0.0)
    image, slope = function(inside)
    return jnp.where(finite, image + slope * beyond, value), jnp.log(slope)


def check_bound(bound: float, name: str = "bound") -> None:
    """Raise unless the half-width of an interval is positive.

    Raises:
        ValueError: it is not.
    """
    if not bound > 0:
        raise ValueError(f"{name} is {bound}; expected a positive number")


def check_min_slope(min_slope: float) -> None:
    """Raise unless the smallest slope lies below that of the identity.

    Raises:
        ValueError: it does not.
    """
    if not 0 < min_slope < 1:
        raise ValueError(f"min_slope is {min_slope}; expected a number in (0, 1)")
