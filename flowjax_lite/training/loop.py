"""A training run, epoch after epoch: what `fit` and `fit_density` have in common."""

import functools
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

import jax
import numpy as np
import optax
from jax import Array
from jax.experimental import multihost_utils

from flowjax_lite.core.fingerprint import fingerprint
from flowjax_lite.core.mesh import Placement, check_same_everywhere
from flowjax_lite.distributions import Flow
from flowjax_lite.losses import Loss
from flowjax_lite.training.bar import Bar
from flowjax_lite.training.batches import AbstractSource
from flowjax_lite.training.checkpoint import Checkpoint, opened
from flowjax_lite.training.epoch import (
    MOST_SKIPPED,
    FitState,
    Outcome,
    Span,
    advance,
    copied,
    first_state,
    go_back,
    summary,
)
from flowjax_lite.training.failure import MOST_RETURNS, DivergedError, describe_largest
from flowjax_lite.training.optimizer import AdamW, over_steps
from flowjax_lite.training.record import Callback, FitResult, Metric, Progress, Record
from flowjax_lite.training.rows import key_data


def train(
    flow: Flow,
    source: AbstractSource,
    *,
    key: Array,
    loss: Loss,
    optimizer: AdamW | optax.GradientTransformation,
    total_steps: int,
    batch_size: int,
    max_epochs: int,
    patience: int | None,
    ema: float | None,
    metrics: Mapping[str, Metric],
    monitor: str,
    callbacks: Sequence[Callback],
    checkpoint: Checkpoint | None,
    placement: Placement,
    progress: bool,
) -> FitResult:
    """Train a flow, which is left as it is, and return the best one.

    Args:
        flow: the model.
        source: where batches come from; it is closed at the end.
        key: as for `fit`, also those not named here, which are checked.
        loss: as there.
        optimizer: as there.
        total_steps: of a run of all epochs, for the optimizer's schedule.
        batch_size: as there.
        max_epochs: as there.
        patience: as there.
        ema: as there.
        metrics: as there.
        monitor: as there.
        callbacks: as there.
        checkpoint: as there.
        placement: the devices that divide the rows of a batch.
        progress: as there.

    Raises:
        DivergedError: as `fit`.
    """
    if jax.process_count() > 1:
        check_same_everywhere(source.checksum())
    # Two runs that agree in this are one, so that a checkpoint of one serves the other.
    identity = checkpoint and {
        "key": key_data(key).tolist(),
        "batch_size": batch_size,
        "max_epochs": max_epochs,
        "ema": ema,
        "monitor": monitor,
        "metrics": list(metrics),
        "data": source.checksum(),
        "windows": source.num_windows,
        "steps": total_steps,
        "optimizer": repr(optimizer) if isinstance(optimizer, AdamW) else fingerprint(optimizer),
        "loss": fingerprint(loss),
        "flow": fingerprint(flow),
    }
    scheduled = over_steps(optimizer, total_steps)
    state = first_state(flow, scheduled, num_steps=source.num_steps, averaged=ema is not None)
    best, record, interrupted = Best(-1, flow), Record(), False
    with (
        closing(source),
        opened(checkpoint, identity or {}, num_devices=placement.num_parts) as saves,
        Bar(max_epochs, shown=progress) as bar,
    ):
        if saves and (saved := saves.restore(state, flow)):
            state, record = saved.state, saved.record
            best = Best(record.best_epoch, saved.best)
        state, best = placement.put_state(state), best.put(placement)
        advance_by = functools.partial(
            advance,
            optimizer=scheduled,
            key=key,
            validation=placement.put(source.validation),
            ema=ema,
            loss=loss,
            batch_size=batch_size,
            placement=placement,
        )
        clock = time.perf_counter() - record.seconds
        try:
            while not record.is_over(max_epochs, patience):
                epoch, steps = record.epoch, source.steps(record.epoch)
                stop = min(steps.stop, saves.next_step(state)) if saves else steps.stop
                state, outcome = _run_steps(advance_by, source, state, epoch, stop)
                _note_skipped(record, state, epoch, steps)
                if int(state.step) == steps.stop:
                    values = {
                        "train": float(outcome.train),
                        "validation": float(outcome.validation),
                    }
                    values |= summary(state, len(steps))
                    values["seconds"] = time.perf_counter() - clock
                    values |= _measured(metrics, state.candidate, placement)
                    if record.add(values, monitor=monitor):
                        best = Best(epoch, copied(state.candidate))
                    bar.show(record.epoch, values)
                    if callbacks:
                        before = time.perf_counter()
                        current = copied(state.train.flow)
                        now = Progress(epoch, record.history, best.epoch, current, best.flow)
                        record.stopped = any([callback(now) for callback in callbacks])
                        clock += time.perf_counter() - before  # time of callbacks does not count
                # Only now: an epoch that has just ended may be the best to go back to.
                if outcome.stuck:
                    if record.returns == MOST_RETURNS:
                        raise _diverged(source, state, best, record, epoch, key=key, loss=loss)
                    record.returns += 1
                    state = go_back(state, best.flow)
                if saves and (saves.is_due(state) or record.is_over(max_epochs, patience)):
                    saves.save(placement.to_host(state), placement.to_host(best.flow), record)
        except KeyboardInterrupt:
            if best.epoch < 0 or jax.process_count() > 1:
                raise
            interrupted = True
        result = best.result(record, placement, interrupted=interrupted)
        _report(source, result, record, key=key, loss=loss, monitor=monitor)
    return result


class Best(NamedTuple):
    """The best model so far, in buffers that no step gives up.

    Attributes:
        epoch: whose it is; -1 before the first.
        flow: the model.
    """

    epoch: int
    flow: Flow

    def put(self, placement: Placement) -> "Best":
        """On the devices of a run."""
        return Best(self.epoch, placement.put_state({"best": self.flow})["best"])

    def result(
        self, record: Record, placement: Placement, *, interrupted: bool = False
    ) -> FitResult:
        """What training returns."""
        flow = placement.to_default(self.flow)
        return FitResult(flow, record.history, self.epoch, interrupted)

    def __str__(self) -> str:
        return f"epoch {self.epoch}" if self.epoch >= 0 else "before the first epoch"


def _run_steps(
    advance_by: Callable[..., tuple[FitState, Outcome]],
    source: AbstractSource,
    state: FitState,
    epoch: int,
    stop: int,
) -> tuple[FitState, Outcome]:
    """Run the steps of an epoch up to one of them, window after window.

    While the host waits for a window, the device has the next one to go on with.
    """
    steps, before = source.steps(epoch), None
    done = int(state.step) - steps.start
    for number in range(done // source.batches, -(-(stop - steps.start) // source.batches)):
        first = steps.start + number * source.batches
        span = Span(steps.start, first, min(first + source.batches, stop), steps.stop)
        window = source.window(epoch, number)
        state, outcome = advance_by(state, epoch=epoch, span=span, window=window)
        if before is not None and before.stuck:
            break  # the window just given takes no step
        before = outcome
    # All in one wait: after each of several, the reader of a stream would go first.
    jax.device_get((state.step, state.steps.skipped, outcome))
    return state, outcome


def _measured(metrics: Mapping[str, Metric], flow: Flow, placement: Placement) -> dict[str, float]:
    """The metrics of the model that is validated, the same in all processes."""
    if not metrics:
        return {}
    flow = placement.to_default(flow)
    values = [float(metric(flow)) for metric in metrics.values()]
    if jax.process_count() > 1:
        values = multihost_utils.broadcast_one_to_all(np.array(values, np.float32)).tolist()
    return dict(zip(metrics, values, strict=True))


def _note_skipped(record: Record, state: FitState, epoch: int, steps: range) -> None:
    done = int(state.step) - steps.start
    skipped = np.flatnonzero(np.asarray(state.steps.skipped)[:done])
    if record.first_skipped is None and skipped.size:
        record.first_skipped = epoch, int(skipped[0])


def _diverged(
    source: AbstractSource,
    state: FitState,
    best: Best,
    record: Record,
    epoch: int,
    *,
    key: Array,
    loss: Loss,
) -> DivergedError:
    """The error of a run that went back too often, the last time in this epoch."""
    placement, step = source.placement, int(state.step) - 1 - source.steps(epoch).start
    flow = placement.to_default(state.train.flow)
    return DivergedError(
        f"{MOST_SKIPPED} steps in a row were not finite, up to step {step} of epoch {epoch}, and "
        f"the run had gone back to its best parameters {MOST_RETURNS} times: "
        f"{source.describe(flow, loss, key, epoch, step)}; {describe_largest(flow)}; the best "
        f"model, of {best}, is this error's `result.flow`: {source.advice}",
        best.result(record, placement),
    )


def _report(
    source: AbstractSource,
    result: FitResult,
    record: Record,
    *,
    key: Array,
    loss: Loss,
    monitor: str,
) -> None:
    """Say at the end what has gone wrong on the way."""
    if result.best_epoch < 0:
        raise DivergedError(
            f"no epoch of {record.epoch} had a finite {monitor!r}, so no parameters could be "
            f"chosen; this error's `result.flow` is untrained: {source.advice}",
            result,
        )
    if result.interrupted:
        warnings.warn(
            f"training was interrupted after {record.epoch} epochs; what is returned is the best "
            f"model so far, of epoch {result.best_epoch}",
            RuntimeWarning,
            stacklevel=4,
        )
    if record.first_skipped is not None:
        epoch, step = record.first_skipped
        skipped = int(sum(result.history["skipped"]))
        returns = f"; the run went back {record.returns} times" if record.returns else ""
        warnings.warn(
            f"{skipped} of {source.steps(record.epoch - 1).stop} steps were skipped, as their loss "
            f"or gradient was not finite, first step {step} of epoch {epoch}: under the parameters "
            f"returned, {source.describe(result.flow, loss, key, epoch, step)}{returns}",
            RuntimeWarning,
            stacklevel=4,
        )
