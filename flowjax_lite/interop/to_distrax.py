"""A flow as a distrax distribution, and a bijector as a distrax bijector."""

from typing import Any, final

import distrax
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.core.checks import Shape, check_condition_batch, default_dtype
from flowjax_lite.distributions import Flow, FlowMixture, StandardNormal


@final
class ToDistrax(distrax.Distribution):
    """A flow as a distrax distribution: sampled, evaluated, transformed as all of them are.

    Conditions with leading axes make a batch of distributions. It has no mean, no entropy and no
    KL divergence in closed form: distrax says so, and samples estimate them.
    `FromDistrax(ToDistrax(flow))` is a base again, whose arrays are fixed.
    """

    def __init__(self, flow: Flow | FlowMixture, condition: ArrayLike | None = None) -> None:
        """Wrap a flow.

        Args:
            flow: a flow or a mixture of flows.
            condition: (..., *condition_shape); its leading axes are the batch shape.

        Raises:
            TypeError: flow is none, or the condition is missing or not floating-point.
            ValueError: the condition has the wrong shape, or none is taken.
        """
        super().__init__()
        if not isinstance(flow, Flow | FlowMixture):
            raise TypeError(f"flow is a {type(flow).__name__}; expected a Flow or a FlowMixture")
        self.flow = flow
        self.condition = check_condition_batch(condition, flow.condition_shape)

    @property
    def event_shape(self) -> Shape:
        """The shape of one event."""
        return self.flow.event_shape

    @property
    def dtype(self) -> Any:
        """The precision of samples."""
        return default_dtype()

    def log_prob(self, value: ArrayLike) -> Array:
        """Log-density, in nats: see `Flow.log_prob`."""
        return self.flow.log_prob(value, self.condition)

    def _sample_n(self, key: Array, n: int) -> Array:
        return self.flow.sample(key, n, self.condition)

    def _sample_n_and_log_prob(self, key: Array, n: int) -> tuple[Array, Array]:
        return self.flow.sample_and_log_prob(key, n, self.condition)


@final
class ToDistraxBijector(distrax.Bijector):
    """A bijector as one of distrax, for `Transformed`, `Chain` and `Inverse`.

    Leading axes of its arguments are mapped over. `FromDistraxBijector` leads back.
    """

    def __init__(self, bijector: AbstractBijector, condition: ArrayLike | None = None) -> None:
        """Wrap a bijector.

        Args:
            bijector: it acts on events of `event_shape`.
            condition: (..., *condition_shape); its leading axes broadcast against those of events.

        Raises:
            TypeError: bijector is none, or the condition is missing or not floating-point.
            ValueError: the condition has the wrong shape, or none is taken.
        """
        if not isinstance(bijector, AbstractBijector):
            raise TypeError(
                f"bijector is a {type(bijector).__name__}; expected a bijector of flowjax_lite, "
                f"such as flow.bijector"
            )
        super().__init__(event_ndims_in=len(bijector.event_shape))
        # A flow maps batches; its base is not used.
        self.flow = Flow(StandardNormal(bijector.event_shape), bijector)
        self.condition = check_condition_batch(condition, bijector.condition_shape)

    def forward_and_log_det(self, x: ArrayLike) -> tuple[Array, Array]:
        """The image of events, and log |det ∂y/∂x|."""
        return self.flow.to_data(x, self.condition)

    def inverse_and_log_det(self, y: ArrayLike) -> tuple[Array, Array]:
        """The preimage of events, and log |det ∂x/∂y|."""
        return self.flow.to_latent(y, self.condition)
