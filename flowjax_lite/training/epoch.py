"""Steps on the device: shuffle, train on every row once an epoch, validate."""

import functools
import inspect
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array, lax

from flowjax_lite.core.checks import default_dtype
from flowjax_lite.core.mesh import Placement
from flowjax_lite.distributions.model import AbstractModel
from flowjax_lite.losses import Loss
from flowjax_lite.training.optimizer import RunOptimizer, over_steps
from flowjax_lite.training.rows import Rows
from flowjax_lite.training.settings import Settings
from flowjax_lite.training.sources import AbstractSource, Window, batch_ends, order_key
from flowjax_lite.training.step import TrainState, chosen, train_step

# So many skipped steps in a row are no accident: the run goes back to the best parameters.
MOST_SKIPPED = 10
SLOWER = 0.1  # and goes on at this part of its learning rate
_STATIC = {"static": True}  # a field of a pytree that is part of its structure


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Plan:
    """What all steps of a run share: a pytree, whose numbers a compiled program takes.

    Attributes:
        key: randomness of the order and of the training loss in all epochs.
        optimizer: of the run.
        ema: the decay of the moving average, which is then what is validated and kept; or None.
        validation: rows never trained on; None selects by the training loss.
        loss: as `negative_log_likelihood`.
        batch_size: most rows of an evaluation at a time.
        placement: the devices that divide the rows of a batch.
    """

    key: Array
    optimizer: RunOptimizer
    ema: float | None
    validation: Rows | None
    loss: Loss = field(metadata=_STATIC)
    batch_size: int = field(metadata=_STATIC)
    placement: Placement = field(metadata=_STATIC)

    @classmethod
    def of(cls, source: AbstractSource, settings: Settings) -> "Plan":
        """The plan of a run over all its epochs."""
        num_steps = source.steps(settings.max_epochs - 1).stop
        return cls(
            key=settings.key,
            optimizer=over_steps(settings.optimizer, num_steps),
            ema=settings.ema,
            validation=source.placement.put(source.validation),
            loss=settings.loss,
            batch_size=source.batch_size,
            placement=source.placement,
        )


class Steps(NamedTuple):
    """What came of the steps of an epoch; (steps,) each, of which those yet to come are of no use.

    Attributes:
        loss: before the step.
        weight: the sum of the batch's weights.
        gradient_norm: of the whole gradient.
        skipped: whether a number was not finite.
    """

    loss: Array
    weight: Array
    gradient_norm: Array
    skipped: Array


class Outcome(NamedTuple):
    """What the host is told of some steps, and may wait for; scalars.

    Attributes:
        stuck: whether the last `MOST_SKIPPED` steps were skipped.
        train: the mean loss of the epoch's steps; NaN before the epoch is over.
        validation: the loss on the rows held out, after the epoch; NaN before.
    """

    stuck: Array
    train: Array
    validation: Array


class FitState(NamedTuple):
    """All that a run carries on the device from step to step; a pytree.

    Attributes:
        train: the model in training and its optimizer state.
        average: the moving average of the model, where one is asked for.
        steps: what came of the steps of this epoch.
        step: how many steps are done, since the start of the run.
        streak: how many steps in a row, up to now, were skipped.
        rate: a factor on the updates, below 1 once the run has gone back.
    """

    train: TrainState[Any]
    average: AbstractModel | None
    steps: Steps
    step: Array
    streak: Array
    rate: Array

    @property
    def candidate(self) -> AbstractModel:
        """The model that is validated, and kept if it is the best."""
        return self.train.flow if self.average is None else self.average


@functools.partial(jax.jit, static_argnames=("num_steps", "averaged"))
def first_state(
    flow: AbstractModel, optimizer: RunOptimizer, *, num_steps: int, averaged: bool = False
) -> FitState:
    """The state before the first epoch, in buffers of its own, which are donated.

    Compiled as a whole: called one by one, its operations would compile one by one.

    Args:
        flow: the model; it is left as it is.
        optimizer: of the run.
        num_steps: the most steps of an epoch.
        averaged: whether there is a moving average.
    """
    flow, average = (jax.tree.map(jnp.copy, flow) for _ in range(2))
    dtype = default_dtype()
    loss, weight, norm = (jnp.full(num_steps, jnp.nan, dtype) for _ in range(3))
    return FitState(
        train=TrainState.create(flow, optimizer.transformation()),
        average=average if averaged else None,
        steps=Steps(loss, weight, norm, jnp.zeros(num_steps, bool)),
        step=jnp.zeros((), jnp.int32),
        streak=jnp.zeros((), jnp.int32),
        rate=jnp.ones((), dtype),
    )


class Span(NamedTuple):
    """Which steps to take, as numbers since the start of the run.

    Attributes:
        begin: the first step of the epoch.
        first: the step that takes the window's first batch.
        stop: the step to stop before, in the same window.
        end: the step after the epoch's last.
    """

    begin: int | np.ndarray | Array
    first: int | np.ndarray | Array
    stop: int | np.ndarray | Array
    end: int | np.ndarray | Array


@functools.partial(jax.jit, donate_argnames=("state",))
def advance(
    state: FitState, plan: Plan, epoch: int | Array, span: Span, window: Window
) -> tuple[FitState, Outcome]:
    """Take the steps of a window up to one of them; after an epoch's last, evaluate.

    What a step does follows from (key, epoch, step) and the state alone, and one program takes
    all steps: an epoch in pieces has the bits of one in a single call. It ends early, or takes no
    step at all, where `MOST_SKIPPED` steps in a row were skipped.

    Args:
        state: its buffers are given up.
        plan: of the run.
        epoch: number of the epoch.
        span: which steps.
        window: where they find their batches.

    Returns:
        The new state, and what came of the steps.
    """
    order = window.order(order_key(plan.key, epoch, span.first - span.begin))
    key, optimizer = jax.random.fold_in(plan.key, epoch), plan.optimizer.transformation()
    placement = plan.placement

    def going_on(state: FitState) -> Array:
        return (state.step < span.stop) & (state.streak < MOST_SKIPPED)

    def step(state: FitState) -> FitState:
        number = state.step - span.begin
        of_step = jax.random.fold_in(key, 1 + number)
        batch, weight = window.batch(order, state.step - span.first, of_step, placement)
        trained, report = train_step(
            state.train,
            batch,
            loss=_told(plan.loss, state.step),
            optimizer=optimizer,
            mesh=placement.mesh,
            rate=state.rate,
        )
        outcome = Steps(report.loss, weight, report.gradient_norm, report.skipped)
        unchanged = report.skipped | (weight == 0)
        average = state.average
        if average is not None and plan.ema is not None:
            # The beginning is soon forgotten.
            decay = jnp.minimum(plan.ema, (1 + state.step) / (10 + state.step))
            average = _moved(average, trained.flow, jnp.where(unchanged, 1.0, decay))
        state = state._replace(
            train=trained,
            average=average,
            steps=jax.tree.map(lambda all, one: all.at[number].set(one), state.steps, outcome),
            step=state.step + 1,
            streak=jnp.where(unchanged, state.streak + report.skipped, 0),
        )
        return placement.keep(state)

    state = lax.while_loop(going_on, step, state)

    def finish() -> tuple[Array, Array]:
        done = jnp.arange(len(state.steps.loss)) < span.end - span.begin
        counted = jnp.where(done & ~state.steps.skipped, state.steps.weight, 0.0)
        train_loss = _mean(state.steps.loss, counted)
        if plan.validation is None:
            return train_loss, train_loss
        return train_loss, _evaluate(state.candidate, plan.validation, plan)

    def not_yet() -> tuple[Array, Array]:
        return (jnp.full_like(state.rate, jnp.nan),) * 2

    losses = lax.cond(state.step == span.end, finish, not_yet)
    return state, Outcome(state.streak == MOST_SKIPPED, *losses)


@jax.jit
def copied(flow: AbstractModel) -> AbstractModel:
    """A flow in buffers of its own, to keep where those of a state are given up."""
    copy: AbstractModel = jax.tree.map(jnp.copy, flow)
    return copy


@functools.partial(jax.jit, donate_argnames=("state",))
def go_back(state: FitState, best: AbstractModel, stuck: Array | bool = True) -> FitState:
    """The state with the best parameters, to go on at a lower rate after the steps skipped.

    The optimizer keeps its state, which no skipped step has touched, and its schedule.

    Args:
        state: its buffers are given up.
        best: the model to go back to.
        stuck: whether to go back at all.
    """
    train = TrainState(jax.tree.map(jnp.copy, best), state.train.opt_state)
    average = None if state.average is None else jax.tree.map(jnp.copy, best)
    back = state._replace(
        train=train, average=average, streak=jnp.zeros_like(state.streak), rate=SLOWER * state.rate
    )
    return chosen(jnp.asarray(stuck), back, state)


def summary(state: FitState, outcome: Outcome, num_steps: int) -> dict[str, float]:
    """What the history says of an epoch: plain numbers.

    Args:
        state: after the epoch.
        outcome: of its last steps.
        num_steps: of the epoch.
    """
    steps = jax.tree.map(lambda array: np.asarray(array)[:num_steps], state.steps)
    norms = steps.gradient_norm[~steps.skipped & (steps.weight > 0)]
    values = {
        "train": float(outcome.train),
        "validation": float(outcome.validation),
        "gradient_norm": float(norms.mean()) if norms.size else float("nan"),
        "skipped": int(steps.skipped.sum()),
    }
    rates = optax.tree_utils.tree_get_all_with_path(  # of `AdamW`, and `optax.inject_hyperparams`
        state.train.opt_state,
        "learning_rate",
        lambda path, value: isinstance(value, jax.Array | np.ndarray | np.generic),
    )
    if len(rates) == 1:
        values["learning_rate"] = float(np.asarray(rates[0][1]) * np.asarray(state.rate))
    return values


def _told(loss: Loss, step: Array) -> Loss:
    """A loss that is told how many steps are done, if it has an argument of that name."""
    if "step" in inspect.signature(loss).parameters:
        return functools.partial(loss, step=step)
    return loss


def _evaluate(flow: AbstractModel, rows: Rows, plan: Plan) -> Array:
    """The mean loss over all rows, a batch at a time, without a key: exact, the same each time."""
    num_batches = -(-rows.num_rows // plan.batch_size)
    ends = jnp.asarray(batch_ends(rows.num_rows, num_batches))[None]
    window = Window(jax.tree.map(lambda array: array[None], rows), ends)
    order = jnp.arange(rows.num_rows)[None]
    flow = flow.divided(plan.placement.mesh)

    def evaluate_batch(number: Array) -> tuple[Array, Array]:
        batch, weight = window.batch(order, number, None, plan.placement)
        return plan.loss(flow, *batch), weight

    return _mean(*jax.lax.map(evaluate_batch, jnp.arange(num_batches)))


def _moved(average: AbstractModel, flow: AbstractModel, decay: Array) -> AbstractModel:
    """The average, moved towards the parameters of a flow; all else is the flow's own."""
    graphdef, new, *rest = nnx.split(flow, nnx.Param, ...)
    old = nnx.state(average, nnx.Param)
    mixed = jax.tree.map(lambda old, new: new + decay.astype(new.dtype) * (old - new), old, new)
    moved: AbstractModel = nnx.merge(graphdef, mixed, *rest)
    return moved


def _mean(values: Array, weights: Array) -> Array:
    """The weighted mean; a batch without weight does not count, even if its value is NaN."""
    return jnp.sum(jnp.where(weights > 0, values * weights, 0.0)) / jnp.sum(weights)
