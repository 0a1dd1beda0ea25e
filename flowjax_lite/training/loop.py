"""A training run, epoch after epoch: what `fit` and `fit_density` have in common."""

import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils

from flowjax_lite.core.fingerprint import fingerprint
from flowjax_lite.core.mesh import Placement, check_same_everywhere
from flowjax_lite.core.pytree import named_leaves
from flowjax_lite.distributions.model import AbstractModel
from flowjax_lite.training.bar import Bar
from flowjax_lite.training.checkpoint import Checkpoints
from flowjax_lite.training.epoch import (
    MOST_SKIPPED,
    FitState,
    Outcome,
    Plan,
    Span,
    advance,
    copied,
    first_state,
    go_back,
    summary,
)
from flowjax_lite.training.optimizer import AdamW
from flowjax_lite.training.record import (
    Callback,
    DivergedError,
    FitResult,
    Metric,
    Model,
    Progress,
    Record,
)
from flowjax_lite.training.rows import key_data
from flowjax_lite.training.settings import Settings
from flowjax_lite.training.sources import AbstractSource

# A run that goes back more often will not come to an end by itself.
MOST_RETURNS = 3


def train(flow: Model, source: AbstractSource, settings: Settings) -> FitResult[Model]:
    """Train a flow, and return the best one.

    Args:
        flow: the model; it is left as it is.
        source: where batches come from; it is closed at the end.
        settings: of the run.

    Raises:
        DivergedError: as `fit`.
    """
    if jax.process_count() > 1:
        check_same_everywhere(source.checksum())
    placement, limits = source.placement, (settings.max_epochs, settings.patience)
    plan = Plan.of(source, settings)
    averaged = settings.ema is not None
    state = first_state(flow, plan.optimizer, num_steps=source.num_steps, averaged=averaged)
    best, record, interrupted = flow, Record(), False
    saves = _checkpoints(flow, source, settings)
    with (
        closing(source),
        closing(saves) if saves else nullcontext(),
        Bar(settings.max_epochs, shown=settings.progress) as bar,
    ):
        if saves and (saved := saves.restore(_Arrays(state, best))):
            (state, best), record = saved
        state, best = placement.put_state(state), placement.put_state({"best": best})["best"]
        clock = time.perf_counter() - record.seconds
        try:
            while not record.is_over(*limits):
                epoch, steps = record.epoch, source.steps(record.epoch)
                stop = min(steps.stop, saves.next_step(int(state.step))) if saves else steps.stop
                state, outcome = _run_steps(state, plan, source, epoch, stop)
                _note_skipped(record, state, steps)
                if int(state.step) == steps.stop:
                    values = summary(state, outcome, len(steps))
                    values["seconds"] = time.perf_counter() - clock
                    values |= _measured(settings.metrics, state.candidate, placement)
                    if record.add(values, monitor=settings.monitor):
                        best, record.best_epoch = copied(state.candidate), epoch
                    bar.show(record.epoch, values)
                    clock += _call_back(settings.callbacks, record, state.train.flow, best)
                # Only now: an epoch that has just ended may be the best to go back to.
                if outcome.stuck:
                    if record.returns == MOST_RETURNS:
                        result = _result(best, record, placement)
                        raise DivergedError(_stuck(state, source, settings, epoch, result), result)
                    record.returns += 1
                    state = go_back(state, best)
                if saves and (saves.is_due(int(state.step)) or record.is_over(*limits)):
                    arrays = placement.to_host(_Arrays(state, best))
                    saves.save(int(state.step), arrays, record)
        except KeyboardInterrupt:
            if record.best_epoch < 0 or jax.process_count() > 1:
                raise
            interrupted = True
        result = _result(best, record, placement, interrupted)
        _report(result, record, source, settings)
    return result


class _Arrays(NamedTuple):
    """What a checkpoint holds beside the record."""

    state: FitState
    best: Any


def _run_steps(
    state: FitState, plan: Plan, source: AbstractSource, epoch: int, stop: int
) -> tuple[FitState, Outcome]:
    """Take the steps of an epoch up to one of them, window after window.

    While the host waits for a window, the device has the next one to go on with.
    """
    steps, before = source.steps(epoch), None
    done = int(state.step) - steps.start
    for number in range(done // source.batches, -(-(stop - steps.start) // source.batches)):
        first = steps.start + number * source.batches
        span = Span(steps.start, first, min(first + source.batches, stop), steps.stop)
        state, outcome = advance(state, plan, epoch, span, source.window(epoch, number))
        if before is not None and before.stuck:
            break  # the window just given takes no step
        before = outcome
    # All in one wait: after each of several, the reader of a stream would go first.
    jax.device_get((state.step, state.steps.skipped, outcome))
    return state, outcome


def _note_skipped(record: Record, state: FitState, steps: range) -> None:
    skipped = np.flatnonzero(np.asarray(state.steps.skipped)[: int(state.step) - steps.start])
    if record.first_skipped is None and skipped.size:
        record.first_skipped = record.epoch, int(skipped[0])


def _measured(
    metrics: Mapping[str, Metric], flow: AbstractModel, placement: Placement
) -> dict[str, float]:
    """The metrics of the model that is validated, the same in all processes."""
    if not metrics:
        return {}
    flow = placement.to_default(flow)
    values = [float(metric(flow)) for metric in metrics.values()]
    if jax.process_count() > 1:
        values = multihost_utils.broadcast_one_to_all(np.array(values, np.float32)).tolist()
    return dict(zip(metrics, values, strict=True))


def _call_back(callbacks: Sequence[Callback], record: Record, flow: Model, best: Model) -> float:
    """Call the callbacks; return the time that it takes, which is none of training."""
    begin = time.perf_counter()
    if callbacks:
        now = Progress(record.epoch - 1, record.history, record.best_epoch, copied(flow), best)
        record.stopped = any([callback(now) for callback in callbacks])
    return time.perf_counter() - begin


def _checkpoints(
    flow: AbstractModel, source: AbstractSource, settings: Settings
) -> Checkpoints | None:
    """Where the run saves itself, if anywhere."""
    if settings.checkpoint is None:
        return None
    optimizer = settings.optimizer
    # Two runs that agree in this are one, so that a checkpoint of one serves the other.
    identity = {
        "key": key_data(settings.key).tolist(),
        "batch_size": source.batch_size,
        "max_epochs": settings.max_epochs,
        "ema": settings.ema,
        "monitor": settings.monitor,
        "metrics": list(settings.metrics),
        "data": source.checksum(),
        "windows": source.num_windows,
        "steps": source.steps(settings.max_epochs - 1).stop,
        "optimizer": repr(optimizer) if isinstance(optimizer, AdamW) else fingerprint(optimizer),
        "loss": fingerprint(settings.loss),
        "flow": fingerprint(flow),
    }
    return Checkpoints(settings.checkpoint, identity, source.placement.num_parts)


def _result(
    best: Model, record: Record, placement: Placement, interrupted: bool = False
) -> FitResult[Model]:
    flow = placement.to_default(best)
    return FitResult(flow, record.history, record.best_epoch, interrupted)


def _stuck(
    state: FitState, source: AbstractSource, settings: Settings, epoch: int, result: FitResult[Any]
) -> str:
    """What to say of a run that went back too often, the last time in this epoch."""
    step = int(state.step) - 1 - source.steps(epoch).start
    flow = source.placement.to_default(state.train.flow)
    sizes = {
        name: float(np.abs(np.nan_to_num(np.asarray(leaf, float), nan=np.inf)).max(initial=0))
        for name, leaf in named_leaves(nnx.state(flow, nnx.Param)).items()
    }
    largest = max(sizes, key=lambda name: sizes[name])
    best = f"epoch {result.best_epoch}" if result.best_epoch >= 0 else "before the first epoch"
    return (
        f"{MOST_SKIPPED} steps in a row were not finite, up to step {step} of epoch {epoch}, and "
        f"the run had gone back to its best parameters {MOST_RETURNS} times: "
        f"{source.describe(flow, settings.loss, settings.key, epoch, step)}; the largest parameter "
        f"is {largest}, of size {sizes[largest]:.3g}; the best model, of {best}, is this error's "
        f"`result.flow`: {source.advice}"
    )


def _report(
    result: FitResult[Any], record: Record, source: AbstractSource, settings: Settings
) -> None:
    """Say at the end what has gone wrong on the way."""
    if result.best_epoch < 0:
        advice = source.advice
        if settings.monitor == "validation" and np.isfinite(result.history["train"]).all():
            advice = "training was finite, so look at the rows held out for cells that are not"
        raise DivergedError(
            f"no epoch of {record.epoch} had a finite {settings.monitor!r}, so no parameters could "
            f"be chosen; this error's `result.flow` is untrained: {advice}",
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
        reason = source.describe(result.flow, settings.loss, settings.key, epoch, step)
        returns = f"; the run went back {record.returns} times" if record.returns else ""
        warnings.warn(
            f"{int(sum(result.history['skipped']))} of {source.steps(record.epoch - 1).stop} steps "
            f"were skipped, as their loss or gradient was not finite, first step {step} of epoch "
            f"{epoch}: under the parameters returned, {reason}{returns}",
            RuntimeWarning,
            stacklevel=4,
        )
