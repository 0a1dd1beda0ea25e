"""One optimisation step, as a pure function."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array, lax
from jax.sharding import Mesh

from flowjax_lite.bijectors import BatchNorm
from flowjax_lite.core.mesh import check_mesh
from flowjax_lite.core.pytree import holds
from flowjax_lite.distributions import Dequantized, Flow, observe
from flowjax_lite.distributions.model import AbstractModel
from flowjax_lite.losses import Loss
from flowjax_lite.training.record import Model

Tree = TypeVar("Tree")


class TrainState(NamedTuple, Generic[Model]):
    """What training carries from step to step; a pytree.

    Attributes:
        flow: the model.
        opt_state: the optimizer's state.
    """

    flow: Model
    opt_state: optax.OptState

    @classmethod
    def create(cls, flow: Model, optimizer: optax.GradientTransformation) -> "TrainState[Model]":
        """The state before the first step."""
        return cls(flow, optimizer.init(nnx.state(flow, nnx.Param)))


class StepReport(NamedTuple):
    """What came of one step; scalars.

    Attributes:
        loss: before the step.
        gradient_norm: the Euclidean norm of the whole gradient.
        skipped: whether a number was not finite, so that the state is the one before; False for a
            batch without weight, which makes no step.
    """

    loss: Array
    gradient_norm: Array
    skipped: Array


def make_train_step(
    loss: Loss, optimizer: optax.GradientTransformation, *, mesh: Mesh | None = None
) -> Callable[..., tuple[TrainState, Array]]:
    """A function that takes one step; call it inside `jax.jit` or `jax.lax.scan`.

    Where the loss, its gradient or the new parameters are not finite, the step returns the state
    that it was given, so that one bad batch cannot poison the parameters or the optimizer; so it
    does for a batch whose weights are all zero.

    Where the flow holds a `BatchNorm`, the loss is that of the flow which has observed the batch,
    and the new flow keeps what it has observed.

    Args:
        loss: a function of the flow and a batch, such as `negative_log_likelihood`, that
            returns a scalar. Weights of rows are an argument of that name. For a flow with a
            `BatchNorm` the others are called x and, where it takes them, condition.
        optimizer: any optax gradient transformation. Only `nnx.Param` variables are trained.
        mesh: devices that divide the rows of each batch, such as `all_devices()`; None is the
            default device alone.

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
    check_mesh(mesh)

    def step(state: TrainState, *batch: Any) -> tuple[TrainState, Array]:
        state, report = train_step(state, batch, loss=loss, optimizer=optimizer, mesh=mesh)
        return state, report.loss

    return step


def train_step(
    state: TrainState[Any],
    batch: tuple[Any, ...],
    *,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    mesh: Mesh | None = None,
    rate: Array | None = None,
) -> tuple[TrainState[Any], StepReport]:
    """The step of `make_train_step`, with all that came of it.

    Args:
        state: before the step.
        batch: the arguments of the loss beside the flow.
        loss: as for `make_train_step`.
        optimizer: the same.
        mesh: the same.
        rate: a factor on the optimizer's updates, if any.
    """
    arguments = inspect.signature(loss).bind(state.flow, *batch).arguments
    weights = arguments.get("weights")
    graphdef, params, *constants = nnx.split(state.flow, nnx.Param, ...)

    def objective(params: Any) -> tuple[Array, list[Any]]:
        flow, statistics = nnx.merge(graphdef, params, *constants).divided(mesh), constants
        if holds(flow, BatchNorm):
            flow = _observe_batch(flow, arguments)
            _, _, *observed = nnx.split(flow, nnx.Param, ...)
            statistics = lax.stop_gradient(observed)
        return loss(flow, *batch), statistics

    (value, constants), gradients = jax.value_and_grad(objective, has_aux=True)(params)
    updates, opt_state = optimizer.update(gradients, state.opt_state, params)
    if rate is not None:
        updates = jax.tree.map(lambda update: update * rate.astype(update.dtype), updates)
    params = optax.apply_updates(params, updates)
    norm = optax.tree.norm(gradients)
    finite = jnp.isfinite(value) & jnp.isfinite(norm) & jnp.isfinite(optax.tree.norm(params))
    new = TrainState(nnx.merge(graphdef, params, *constants), opt_state)
    moves, skipped = finite, ~finite
    if weights is not None:
        has_weight = jnp.any(weights > 0)
        moves, skipped = moves & has_weight, skipped & has_weight
    return chosen(moves, new, state), StepReport(value, norm, skipped)


def chosen(which: Array, new: Tree, old: Tree) -> Tree:
    """The new arrays, or the old ones; of a pytree."""
    arrays: Tree = jax.tree.map(lambda new, old: jnp.where(which, new, old), new, old)
    return arrays


def _observe_batch(flow: AbstractModel, arguments: Mapping[str, Any]) -> AbstractModel:
    if arguments.get("x") is None:
        raise TypeError(
            f"the flow holds a BatchNorm, whose statistics come from data, and the loss was given "
            f"no argument x, but {list(arguments)}: use a loss such as negative_log_likelihood("
            f"flow, x, condition, weights, key), or ActNorm in place of BatchNorm"
        )
    if not isinstance(flow, Flow | Dequantized):
        raise TypeError(
            f"a flow within this {type(flow).__name__} holds a BatchNorm, whose statistics are "
            f"those of a flow's own batches: use ActNorm in its place"
        )
    return observe(flow, arguments["x"], arguments.get("condition"), arguments.get("weights"))
