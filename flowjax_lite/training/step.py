"""One optimisation step, as a pure function."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from flax import nnx
from jax import Array

from flowjax_lite.distributions import Flow

Loss = Callable[..., Array]


class TrainState(NamedTuple):
    """What training carries from step to step; a pytree.

    Attributes:
        flow: the model.
        opt_state: the optimizer's state.
    """

    flow: Flow
    opt_state: optax.OptState

    @classmethod
    def create(cls, flow: Flow, optimizer: optax.GradientTransformation) -> "TrainState":
        """The state before the first step."""
        return cls(flow, optimizer.init(nnx.state(flow, nnx.Param)))


def make_train_step(
    loss: Loss, optimizer: optax.GradientTransformation
) -> Callable[..., tuple[TrainState, Array]]:
    """A function that takes one step; call it inside `jax.jit` or `jax.lax.scan`.

    Args:
        loss: a function of the flow and a batch, such as `negative_log_likelihood`, that
            returns a scalar.
        optimizer: any optax gradient transformation. Only `nnx.Param` variables are trained.

    Returns:
        `step(state, *batch) -> (state, loss)`, with the loss before the step.

    Example:
        >>> import jax, optax, flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> optimizer = optax.adam(1e-3)
        >>> step = jax.jit(fl.make_train_step(fl.negative_log_likelihood, optimizer))
        >>> state = fl.TrainState.create(flow, optimizer)
        >>> state, loss = step(state, jax.random.normal(jax.random.key(0), (16, 2)))
    """

    def step(state: TrainState, *batch: Any) -> tuple[TrainState, Array]:
        graphdef, params, *constants = nnx.split(state.flow, nnx.Param, ...)

        def objective(params: Any) -> Array:
            return loss(nnx.merge(graphdef, params, *constants), *batch)

        value, gradients = jax.value_and_grad(objective)(params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, params)
        params = optax.apply_updates(params, updates)
        return TrainState(nnx.merge(graphdef, params, *constants), opt_state), value

    return step
