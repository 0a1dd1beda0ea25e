"""One epoch on the device: shuffle, train on every row once, validate, keep the best."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from flowjax_lite.distributions import Flow
from flowjax_lite.training.step import Loss, TrainState, make_train_step


class Rows(NamedTuple):
    """Aligned rows of data.

    Attributes:
        x: (rows, *event_shape).
        condition: (rows, *condition_shape), or None.
        weights: (rows,).
    """

    x: Array
    condition: Array | None
    weights: Array

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.x)


class FitState(NamedTuple):
    """What `fit` carries from epoch to epoch; a pytree.

    Attributes:
        train: the model in training and its optimizer state.
        best: the model with the lowest validation loss so far.
        best_loss: that loss.
    """

    train: TrainState
    best: Flow
    best_loss: Array


@functools.partial(
    jax.jit, static_argnames=("loss", "optimizer", "batch_size"), donate_argnames=("state",)
)
def run_epoch(
    state: FitState,
    key: Array,
    epoch: int,
    train: Rows,
    validation: Rows | None,
    *,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    batch_size: int,
) -> tuple[FitState, Array, Array]:
    """Train on every row once, in random order, and evaluate the validation rows.

    Args:
        state: from the epoch before; its buffers are given up.
        key: randomness of the order and of the training loss in all epochs.
        epoch: number of the epoch.
        train: training rows.
        validation: rows never trained on; None selects by the training loss.
        loss: as `negative_log_likelihood`.
        optimizer: any optax gradient transformation.
        batch_size: most rows per step.

    Returns:
        The new state, the mean training loss over the epoch and the validation loss after it.
    """
    step = make_train_step(loss, optimizer)
    index, valid = batch_index(train.num_rows, batch_size)
    keys = jax.random.split(jax.random.fold_in(key, epoch), 1 + len(index))
    # One sort of 32 random bits; jax.random.permutation sorts twice, for the sake of equal bits.
    order = jnp.argsort(jax.random.bits(keys[0], (train.num_rows,)))

    def train_batch(
        carry: TrainState, batch: tuple[Array, Array, Array]
    ) -> tuple[TrainState, tuple[Array, Array]]:
        rows, weights = _take(train, order[batch[0]], batch[1])
        carry, value = step(carry, rows.x, rows.condition, weights, batch[2])
        return carry, (value, jnp.sum(weights))

    batches = (jnp.asarray(index), jnp.asarray(valid), keys[1:])
    trained, results = jax.lax.scan(train_batch, state.train, batches)
    train_loss = _mean(*results)
    if validation is None:
        validation_loss = train_loss
    else:
        validation_loss = evaluate(trained.flow, validation, loss=loss, batch_size=batch_size)
    better = validation_loss < state.best_loss  # False for NaN
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), trained.flow, state.best)
    best_loss = jnp.where(better, validation_loss, state.best_loss)
    return FitState(trained, best, best_loss), train_loss, validation_loss


def evaluate(flow: Flow, rows: Rows, *, loss: Loss, batch_size: int) -> Array:
    """The mean loss over all rows, a batch at a time, without a key: exact, the same each time."""
    index, valid = batch_index(rows.num_rows, batch_size)

    def evaluate_batch(batch: tuple[Array, Array]) -> tuple[Array, Array]:
        taken, weights = _take(rows, *batch)
        return loss(flow, taken.x, taken.condition, weights, None), jnp.sum(weights)

    return _mean(*jax.lax.map(evaluate_batch, (index, valid)))


def batch_index(num_rows: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut positions 0 … num_rows - 1 into batches that differ by one row at most.

    The last batch is as full as the others, so no step rests on a handful of rows.

    Returns:
        Positions (batches, size), and which of them count; a batch with one row less than
        the others repeats its last position, which does not count.
    """
    num_batches = -(-num_rows // batch_size)
    ends = np.arange(num_batches + 1) * num_rows // num_batches
    positions = ends[:-1, None] + np.arange(np.diff(ends).max())
    valid = positions < ends[1:, None]
    return np.where(valid, positions, ends[1:, None] - 1), valid


def _take(rows: Rows, index: Array, valid: Array) -> tuple[Rows, Array]:
    taken = jax.tree.map(lambda array: array[index], rows)
    return taken, jnp.where(valid, taken.weights, 0.0)


def _mean(values: Array, weights: Array) -> Array:
    """The weighted mean; a batch without weight does not count, even if its value is NaN."""
    return jnp.sum(jnp.where(weights > 0, values * weights, 0.0)) / jnp.sum(weights)
