"""Steps on the device: shuffle, train on every row once an epoch, validate, keep the best."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array, lax

from flowjax_lite.core.checks import default_dtype
from flowjax_lite.core.mesh import Placement
from flowjax_lite.distributions import Flow
from flowjax_lite.losses import Loss
from flowjax_lite.training.rows import Rows
from flowjax_lite.training.step import TrainState, take_step
from flowjax_lite.training.window import Window, batch_ends, order_key, shuffled, take_batch

# So many skipped steps in a row are no accident: the run goes back to the best parameters.
MOST_SKIPPED = 10
SLOWER = 0.1  # and goes on at this part of its learning rate


class Steps(NamedTuple):
    """What the steps of an epoch found; (steps,) each, of which those yet to come are of no use.

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
    """All that `fit` carries on the device; a pytree.

    Attributes:
        train: the model in training and its optimizer state.
        average: the moving average of the model, where one is asked for.
        best: the model of the best epoch so far.
        steps: what the steps of this epoch found.
        step: how many steps of this epoch are done.
        streak: how many steps in a row, up to now, were skipped.
        rate: a factor on the updates, below 1 once the run has gone back.
    """

    train: TrainState
    average: Flow | None
    best: Flow
    steps: Steps
    step: Array
    streak: Array
    rate: Array

    @property
    def candidate(self) -> Flow:
        """The model that is validated, and kept if it is the best."""
        return self.train.flow if self.average is None else self.average


@functools.partial(jax.jit, static_argnames=("optimizer", "num_steps", "ema"))
def first_state(
    flow: Flow, *, optimizer: optax.GradientTransformation, num_steps: int, ema: float | None = None
) -> FitState:
    """The state before the first epoch, in buffers of its own, which are donated.

    Compiled as a whole: called one by one, its operations would compile one by one.
    """
    flow, average, best = (jax.tree.map(jnp.copy, flow) for _ in range(3))
    dtype = default_dtype()
    loss, weight, norm = (jnp.full(num_steps, jnp.nan, dtype) for _ in range(3))
    return FitState(
        train=TrainState.create(flow, optimizer),
        average=None if ema is None else average,
        best=best,
        steps=Steps(loss, weight, norm, jnp.zeros(num_steps, bool)),
        step=jnp.zeros((), jnp.int32),
        streak=jnp.zeros((), jnp.int32),
        rate=jnp.ones((), dtype),
    )


@functools.partial(
    jax.jit,
    static_argnames=("loss", "optimizer", "batch_size", "ema", "placement"),
    donate_argnames=("state",),
)
def advance(
    state: FitState,
    key: Array,
    epoch: int,
    first: int,
    stop: int,
    window: Window,
    validation: Rows | None,
    *,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    ema: float | None,
    placement: Placement,
) -> tuple[FitState, Outcome]:
    """Take the steps of a window up to one of them; after an epoch's last, evaluate.

    What a step does follows from (key, epoch, step) and the state alone, and one program takes
    all steps: an epoch in pieces has the bits of one in a single call. It ends early, or takes no
    step at all, where `MOST_SKIPPED` steps in a row were skipped.

    Args:
        state: its buffers are given up; a state at the end of an epoch begins the next one.
        key: randomness of the order and of the training loss in all epochs.
        epoch: number of the epoch.
        first: the step that takes the window's first batch.
        stop: the step to stop before, in the same window.
        window: training rows.
        validation: rows never trained on; None selects by the training loss.
        loss: as `negative_log_likelihood`.
        optimizer: any optax gradient transformation.
        batch_size: most rows of an evaluation at a time.
        ema: the decay of the moving average, which is then what is validated and kept; or None.
        placement: the devices that share the rows of a batch.

    Returns:
        The new state, and what came of the steps.
    """
    num_steps = len(state.steps.loss)
    order = shuffled(order_key(key, epoch, first), window.ends, window.capacity)
    key = jax.random.fold_in(key, epoch)
    multiple = placement.num_parts // len(window.ends)

    def going_on(state: FitState) -> Array:
        return (state.step < stop) & (state.streak < MOST_SKIPPED)

    def take(state: FitState) -> FitState:
        step = state.step
        rows = placement.spread(take_batch(window, order, step - first, multiple=multiple))
        batch = *rows, jax.random.fold_in(key, 1 + step)
        settings = {"loss": loss, "optimizer": optimizer, "mesh": placement.mesh}
        trained, report = take_step(state.train, batch, **settings, rate=state.rate)
        found = Steps(report.loss, jnp.sum(rows.weights), report.gradient_norm, report.skipped)
        unchanged = report.skipped | (found.weight == 0)
        average = state.average
        if average is not None and ema is not None:
            done = epoch * num_steps + step
            decay = jnp.minimum(ema, (1 + done) / (10 + done))  # the beginning is soon forgotten
            average = _moved(average, trained.flow, jnp.where(unchanged, 1.0, decay))
        state = state._replace(
            train=trained,
            average=average,
            steps=jax.tree.map(lambda all, one: all.at[step].set(one), state.steps, found),
            step=step + 1,
            streak=jnp.where(unchanged, state.streak + report.skipped, 0),
        )
        return placement.keep(state)

    state = state._replace(step=jnp.where(state.step == num_steps, 0, state.step))
    state = lax.while_loop(going_on, take, state)

    def finish() -> tuple[Array, Array]:
        counted = jnp.where(state.steps.skipped, 0.0, state.steps.weight)
        train_loss = _mean(state.steps.loss, counted)
        if validation is None:
            return train_loss, train_loss
        validation_loss = evaluate(
            state.candidate, validation, loss=loss, batch_size=batch_size, placement=placement
        )
        return train_loss, validation_loss

    def not_yet() -> tuple[Array, Array]:
        return (jnp.full_like(state.rate, jnp.nan),) * 2

    losses = lax.cond(state.step == num_steps, finish, not_yet)
    return state, Outcome(state.streak == MOST_SKIPPED, *losses)


@functools.partial(jax.jit, donate_argnames=("state",))
def keep_best(state: FitState) -> FitState:
    """The state whose best model is that of the epoch just done."""
    return state._replace(best=jax.tree.map(jnp.copy, state.candidate))


@functools.partial(jax.jit, donate_argnames=("state",))
def go_back(state: FitState) -> FitState:
    """The state with the best parameters, to go on at a lower rate after the steps skipped.

    The optimizer keeps its state, which no skipped step has touched, and its schedule.
    """
    train = TrainState(jax.tree.map(jnp.copy, state.best), state.train.opt_state)
    average = None if state.average is None else jax.tree.map(jnp.copy, state.best)
    return state._replace(
        train=train,
        average=average,
        streak=jnp.zeros_like(state.streak),
        rate=SLOWER * state.rate,
    )


def last_rate(state: FitState) -> np.ndarray | None:
    """The rate of the last update, where the optimizer's state tells it; that of `AdamW` does."""
    rates = optax.tree_utils.tree_get_all_with_path(  # as `optax.inject_hyperparams` keeps it
        state.train.opt_state, "learning_rate", lambda path, value: isinstance(value, jax.Array)
    )
    return np.asarray(rates[0][1]) * np.asarray(state.rate) if len(rates) == 1 else None


def evaluate(flow: Flow, rows: Rows, *, loss: Loss, batch_size: int, placement: Placement) -> Array:
    """The mean loss over all rows, a batch at a time, without a key: exact, the same each time."""
    num_batches = -(-rows.num_rows // batch_size)
    ends = jnp.asarray(batch_ends(rows.num_rows, num_batches))[None]
    window = Window(jax.tree.map(lambda array: array[None], rows), ends)
    order = jnp.arange(rows.num_rows)[None]
    flow = flow.divided(placement.mesh)

    def evaluate_batch(batch: Array) -> tuple[Array, Array]:
        taken = take_batch(window, order, batch, multiple=placement.num_parts)
        taken = placement.spread(taken)
        return loss(flow, *taken, None), jnp.sum(taken.weights)

    return _mean(*jax.lax.map(evaluate_batch, jnp.arange(num_batches)))


def _moved(average: Flow, flow: Flow, decay: Array) -> Flow:
    """The average, moved towards the parameters of a flow; all else is the flow's own."""
    graphdef, new, *rest = nnx.split(flow, nnx.Param, ...)
    old = nnx.state(average, nnx.Param)
    mixed = jax.tree.map(lambda old, new: new + decay.astype(new.dtype) * (old - new), old, new)
    moved: Flow = nnx.merge(graphdef, mixed, *rest)
    return moved


def _mean(values: Array, weights: Array) -> Array:
    """The weighted mean; a batch without weight does not count, even if its value is NaN."""
    return jnp.sum(jnp.where(weights > 0, values * weights, 0.0)) / jnp.sum(weights)
