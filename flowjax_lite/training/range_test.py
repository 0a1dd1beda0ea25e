"""Looking for a learning rate before training."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax
from jax import Array, lax

from flowjax_lite.core.checks import as_key, check_positive_int
from flowjax_lite.distributions import Flow
from flowjax_lite.losses import Loss
from flowjax_lite.losses.likelihood import negative_log_likelihood
from flowjax_lite.training.optimizer import AdamW
from flowjax_lite.training.rows import Rows, check_rows
from flowjax_lite.training.settings import as_flow
from flowjax_lite.training.sources import most_rows_of_a_batch
from flowjax_lite.training.step import StepReport, TrainState, train_step

_OPTIMIZER = optax.chain(optax.clip_by_global_norm(AdamW.clip), optax.adam(1.0))
_PART = 0.9  # of the way down: the last part of it is flat, and its end uncertain
_WINDOW = 0.1  # of the range, over which the loss is smoothed


@dataclass(frozen=True)
class RangeTest:
    """What `find_learning_rate` returns.

    Attributes:
        rates: (steps,), up to the last step before one that was not finite.
        losses: (steps,), of random batches, before each step.
        suggestion: a learning rate for `fit`.
    """

    rates: np.ndarray
    losses: np.ndarray
    suggestion: float


def find_learning_rate(
    flow: Flow,
    data: Any,
    *,
    key: Array | int,
    condition: Any = None,
    weights: Any = None,
    loss: Loss = negative_log_likelihood,
    batch_size: int | None = None,
    lowest: float = 1e-6,
    highest: float = 1.0,
    num_steps: int = 300,
    checks: str = "error",
) -> RangeTest:
    """Train with a rate that grows from step to step, to see which rates help and which harm.

    Each step of Adam takes a random batch, with gradients clipped as those of `AdamW` are. While
    the rate is too low the loss stays where it is, then it falls, and in the end it grows or is
    not finite, which ends the range. The suggestion is the rate at which the loss, smoothed by a
    running median, has come nine tenths of its way from where it begins to where it is lowest:
    clearly below those that harm, and the same with other batches up to a factor of two.

    The learning rate range test: Smith, 2017, arXiv:1506.01186, section 3.3.

    Args:
        flow: the model; it is left as it is.
        data: (rows, *event_shape), floating-point.
        key: randomness of the batches and of the loss.
        condition: (rows, condition_dim) where the flow takes a condition.
        weights: (rows,), not negative; relative influence of each row.
        loss: as for `fit`.
        batch_size: rows per step, that of the training to come; None as for `fit`.
        lowest: the rate of the first step.
        highest: the rate of the last step.
        num_steps: how many steps.
        checks: as for `fit`.

    Returns:
        Rates, losses and the suggestion.

    Raises:
        TypeError: data, condition or weights are not floating-point.
        ValueError: as for `fit`; or rates that do not grow, or a first step that is not finite.
    """
    flow, key = as_flow(flow), as_key(key)
    if batch_size is not None:
        check_positive_int(batch_size, "batch_size")
    check_positive_int(num_steps, "num_steps")
    if not 0 < lowest < highest < np.inf:
        raise ValueError(
            f"lowest is {lowest} and highest {highest}; expected positive rates, the lowest first"
        )
    rows = check_rows(flow, data, condition, weights, checks=checks)
    rates = np.geomspace(lowest, highest, num_steps, dtype=rows.weights.dtype)
    size = min(most_rows_of_a_batch(batch_size, rows.num_rows), rows.num_rows)
    reports = _climb(flow, jax.device_put(rows), rates, key, loss=loss, batch_size=size)
    skipped = np.flatnonzero(reports.skipped)
    num = skipped[0] if skipped.size else num_steps
    if num == 0:
        raise ValueError(
            f"the loss or its gradient is not finite at the first step, before any rate could harm "
            f"it: it is {reports.loss[0]}; look at the data and at the flow"
        )
    losses = np.asarray(reports.loss)[:num]
    smooth = _smooth(losses, half=max(1, round(_WINDOW * num_steps / 2)))
    enough = smooth[0] + _PART * (smooth.min() - smooth[0])
    return RangeTest(rates[:num], losses, float(rates[np.argmax(smooth <= enough)]))


@functools.partial(jax.jit, static_argnames=("loss", "batch_size"))
def _climb(
    flow: Flow, rows: Rows, rates: Array, key: Array, *, loss: Loss, batch_size: int
) -> StepReport:
    """What steps at these rates find, one after the other."""

    def one_step(state: TrainState, now: tuple[Array, Array]) -> tuple[TrainState, StepReport]:
        rate, key = now
        of_rows, of_loss = jax.random.split(key)
        index = jax.random.randint(of_rows, (batch_size,), 0, rows.num_rows)
        x, condition, weights, _ = rows.at(index)
        batch = x, condition, weights, of_loss
        return train_step(state, batch, loss=loss, optimizer=_OPTIMIZER, rate=rate)

    keys = jax.random.split(key, len(rates))
    return lax.scan(one_step, TrainState.create(flow, _OPTIMIZER), (rates, keys))[1]


def _smooth(losses: np.ndarray, *, half: int) -> np.ndarray:
    """The running median over `half` values to both sides, as far as there are any."""
    ends = [(max(0, at - half), at + half + 1) for at in range(len(losses))]
    return np.array([np.median(losses[start:stop]) for start, stop in ends])
