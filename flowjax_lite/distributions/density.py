"""What has samples and a density, over batches: flows, mixtures of them, and all that act alike."""

from typing import Any, Protocol

from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.core.checks import Shape
from flowjax_lite.distributions.bases.base import AbstractBase
from flowjax_lite.distributions.flow import flow_of_base


class Density(Protocol):
    """A `Flow`, a `FlowMixture`, or any other object with these methods.

    Attributes:
        event_shape: shape of one event.
        condition_shape: shape of one condition, or None where none is taken.
    """

    event_shape: Shape
    condition_shape: Shape | None

    def log_prob(self, x: ArrayLike, condition: ArrayLike | None = None, /) -> Array:
        """Log-densities, (...), of events (..., *event_shape)."""

    def sample(
        self, key: Array | int, shape: int | Shape = (), condition: ArrayLike | None = None, /
    ) -> Array:
        """Samples, (*shape, ..., *event_shape), with ... the leading axes of the condition."""


def as_density(prior: Any, name: str = "prior") -> Density:
    """The density over batches of what is given; a base alone is the flow without layers.

    Args:
        prior: a base, a flow, or an object with the methods of `Density`; without a condition.
        name: what messages call it.

    Raises:
        TypeError: it is none of these.
        ValueError: it takes a condition.
    """
    if isinstance(prior, AbstractBase):
        prior = flow_of_base(prior)
    if not all(hasattr(prior, part) for part in ("event_shape", "log_prob", "sample")):
        raise TypeError(
            f"{name} is a {type(prior).__name__}; expected a distribution, such as "
            f"fl.distributions.Uniform(2, low=-1.0, high=1.0), or a flow"
        )
    if prior.condition_shape is not None:
        raise ValueError(
            f"{name} takes conditions of shape {prior.condition_shape}; expected one without: of a "
            f"flow that was trained, fl.inference.posterior(flow, observation) is such a one"
        )
    density: Density = prior
    return density
