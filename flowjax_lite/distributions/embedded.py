"""Conditions of any kind, which a network turns into those that a flow takes."""

from collections.abc import Callable
from typing import Any, final

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.core.checks import Shape, check_event_shape, default_dtype
from flowjax_lite.distributions.flow import Flow


@final
class Embedded(Flow):
    """A flow whose condition is what a network makes of a raw one, such as a series or an image.

    The network is trained with the flow, by `fit` or any loss: what comes out of it are
    summaries of the raw condition that say all that the flow needs to know.

    Radev, Mertens, Voss, Ardizzone and Köthe, 2020, arXiv:2003.06281.

    Attributes:
        network: from one raw condition to one condition of the flow.
        summary_map: the `condition_map` of the flow that was given, or None.
    """

    def __init__(
        self,
        flow: Flow,
        network: nnx.Module,
        *,
        condition_shape: int | Shape,
        condition_map: AbstractBijector | None = None,
    ) -> None:
        """Put a network before a flow.

        Args:
            flow: a flow with a condition.
            network: a module from one raw condition, (*condition_shape), to one of the flow's,
                such as `conditioners.MLP(50, out_shape=(8,), rngs=rngs)`. One of a class that
                derives from those of `conditioners` is saved with the flow; others need a template
                to load.
            condition_shape: shape of one raw condition.
            condition_map: fixed bijector from unit scale to raw conditions, whose inverse is
                applied before the network, such as `Standardize.from_data(x)`.

        Raises:
            TypeError: flow is no `Flow`, or one with a network already; or network is no function.
            ValueError: the flow takes no condition, or shapes do not fit together.

        Example:
            >>> import flowjax_lite as fl
            >>> from flax import nnx
            >>> rngs = nnx.Rngs(0)
            >>> flow = fl.flows.maf(dim=2, condition_dim=3, num_layers=2, hidden=(8,), rngs=rngs)
            >>> network = fl.conditioners.MLP(20, out_shape=(3,), hidden=(8,), rngs=rngs)
            >>> flow = fl.distributions.Embedded(flow, network, condition_shape=20)
            >>> flow.condition_shape
            (20,)
        """
        if not isinstance(flow, Flow) or isinstance(flow, Embedded):
            raise TypeError(
                f"flow is a {type(flow).__name__}; expected a Flow without a network of its own, "
                f"such as fl.flows.maf(dim=2, condition_dim=8, rngs=rngs)"
            )
        if flow.condition_shape is None:
            raise ValueError("the flow takes no condition; build it with condition_dim")
        if not callable(network):
            raise TypeError(f"network is a {type(network).__name__}; expected a function")
        self.base = flow.base
        self.bijector = flow.bijector
        self.network: Callable[[Array], Array] = network
        self.summary_map = flow.condition_map
        self.condition_map = condition_map
        self.event_shape = flow.event_shape
        self.condition_shape = check_event_shape(condition_shape, "condition_shape")
        self.mesh = None
        if condition_map is not None and condition_map.event_shape != self.condition_shape:
            raise ValueError(
                f"condition_map has event shape {condition_map.event_shape}; the network takes "
                f"conditions of shape {self.condition_shape}"
            )
        raw = jax.ShapeDtypeStruct(self.condition_shape, default_dtype())
        summary = jax.eval_shape(lambda raw: network(raw), raw)
        if getattr(summary, "shape", None) != flow.condition_shape:
            raise ValueError(
                f"network returns shape {getattr(summary, 'shape', None)} for a condition of shape "
                f"{self.condition_shape}; the flow takes conditions of shape {flow.condition_shape}"
            )

    def map_condition(self, condition: Array | None) -> Array | None:
        """One raw condition as the base and the bijector take it: through the network."""
        raw = super().map_condition(condition)
        if raw is None:
            return None
        summary = self.network(raw.astype(jnp.promote_types(raw.dtype, default_dtype())))
        return summary if self.summary_map is None else self.summary_map.inverse(summary)

    def _summary(self) -> list[tuple[str, object]]:
        rows: list[tuple[str, Any]] = super()._summary()
        return [*rows[:3], ("network", type(self.network).__name__), *rows[3:]]
