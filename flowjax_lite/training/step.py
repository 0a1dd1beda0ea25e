"""One optimisation step, as a pure function."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from flax import nnx
from jax import Array, lax

from flowjax_lite.bijectors import BatchNorm
from flowjax_lite.bijectors.batch import holds
from flowjax_lite.distributions import Flow, observe

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

    Where the flow holds a `BatchNorm`, the loss is that of the flow which has observed the batch,
    and the new flow keeps what it has observed.

    Args:
        loss: a function of the flow and a batch, such as `negative_log_likelihood`, that
            returns a scalar. For a flow with a `BatchNorm` its arguments are called x and, where
            it takes them, condition and weights.
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

        def objective(params: Any) -> tuple[Array, list[Any]]:
            flow, statistics = nnx.merge(graphdef, params, *constants), constants
            if holds(flow, BatchNorm):
                flow = _observe_batch(flow, loss, batch)
                _, _, *observed = nnx.split(flow, nnx.Param, ...)
                statistics = lax.stop_gradient(observed)
            return loss(flow, *batch), statistics

        (value, constants), gradients = jax.value_and_grad(objective, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, params)
        params = optax.apply_updates(params, updates)
        return TrainState(nnx.merge(graphdef, params, *constants), opt_state), value

    return step


def _observe_batch(flow: Flow, loss: Loss, batch: tuple[Any, ...]) -> Flow:
    arguments = inspect.signature(loss).bind(flow, *batch).arguments
    if arguments.get("x") is None:
        raise TypeError(
            f"the flow holds a BatchNorm, whose statistics come from data, and the loss was given "
            f"no argument x, but {list(arguments)}: use a loss such as negative_log_likelihood("
            f"flow, x, condition, weights, key), or ActNorm in place of BatchNorm"
        )
    return observe(flow, arguments["x"], arguments.get("condition"), arguments.get("weights"))
