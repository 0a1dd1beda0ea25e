"""The protocol of transformers: scalar monotone maps whose parameters come from outside."""

from abc import ABC, abstractmethod
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
