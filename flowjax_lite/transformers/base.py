"""The protocol of transformers: scalar monotone maps whose parameters come from outside."""

from abc import ABC, abstractmethod

from jax import Array


class AbstractTransformer(ABC):
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
