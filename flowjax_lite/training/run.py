"""A training run, epoch after epoch, and what it does where steps fail."""

import time
import warnings
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax
from jax import Array
from jax.experimental import multihost_utils
from tqdm.auto import tqdm

from flowjax_lite.core.fingerprint import fingerprint
from flowjax_lite.core.mesh import Placement
from flowjax_lite.distributions import Flow
from flowjax_lite.losses import Loss
from flowjax_lite.training.checkpoint import Checkpoint, opened
from flowjax_lite.training.epoch import (
    MOST_SKIPPED,
    FitState,
    Outcome,
    advance,
    first_state,
    go_back,
    keep_best,
    last_rate,
)
from flowjax_lite.training.failure import (
    ADVICE,
    MOST_RETURNS,
    DivergedError,
    describe_largest,
    describe_rows,
)
from flowjax_lite.training.feed import AbstractFeed
from flowjax_lite.training.record import Callback, FitResult, Metric, Record, found
from flowjax_lite.training.rows import Rows, key_data


@dataclass(frozen=True)
class Run:
    """All that `fit` has checked and chosen; calling it trains a flow."""

    feed: AbstractFeed
    key: Array
    loss: Loss
    optimizer: optax.GradientTransformation
    optimizer_settings: str
    batch_size: int
    max_epochs: int
    patience: int | None
    ema: float | None
    metrics: Mapping[str, Metric]
    monitor: str
    callbacks: tuple[Callback, ...]
    checkpoint: Checkpoint | None
    placement: Placement

    def __call__(self, flow: Flow, *, progress: bool) -> FitResult:
        """Train a flow, which is left as it is, and return the best one."""
        state = first_state(
            flow, optimizer=self.optimizer, num_steps=self.feed.num_steps, ema=self.ema
        )
        record = Record()
        identity = self._identity(state) if self.checkpoint else {}
        with (
            closing(self.feed),
            opened(self.checkpoint, identity, num_devices=self.placement.num_parts) as checkpoints,
        ):
            if checkpoints and (saved := checkpoints.restore(state)):
                state, record = saved
            state = self.placement.put_state(state)
            held_out = self.placement.put(self.feed.validation)
            start = time.perf_counter() - record.seconds
            with tqdm(
                total=self.max_epochs, initial=record.epoch, disable=not progress, unit="epoch"
            ) as bar:
                while not record.is_over(self.max_epochs, self.patience):
                    epoch = record.epoch
                    state, outcome = self._advance(record, state, held_out)
                    self._note_skipped(record, state)
                    if int(state.step) == self.feed.num_steps:
                        train, validation = float(outcome.train), float(outcome.validation)
                        values = {"train": train, "validation": validation}
                        values |= found(state.steps, last_rate(state))
                        values["seconds"] = time.perf_counter() - start
                        if record.add(values | self._measured(state), monitor=self.monitor):
                            state = keep_best(state)
                        bar.set_postfix(train=f"{train:.4f}", validation=f"{validation:.4f}")
                        bar.update()
                        now = record.progress(state.train.flow, state.best)
                        before = time.perf_counter()
                        record.stopped = any([callback(now) for callback in self.callbacks])
                        start += time.perf_counter() - before  # theirs is no time of training
                    # After an epoch that has just ended is kept: it may be the best to go back to.
                    if outcome.stuck:
                        state = self._go_back(record, state, epoch)
                    if checkpoints and self._is_due(record, state):
                        step, whole = self._steps_done(record, state), self.placement.to_host(state)
                        checkpoints.save(step, whole, record)
        best = self.placement.to_default(state.best)
        self._report(record, best)
        return record.result(best)

    def _advance(
        self, record: Record, state: FitState, held_out: Rows | None
    ) -> tuple[FitState, Outcome]:
        """Take the steps of an epoch, or up to the next save, window after window.

        While the host waits for a window, the device has the next one to go on with.
        """
        batches, before = self.feed.batches, None
        step, stop = int(state.step) % self.feed.num_steps, self._next_save(record, state)
        for first in range(step - step % batches, stop, batches):
            state, outcome = advance(
                state,
                self.key,
                record.epoch,
                first,
                min(first + batches, stop),
                self.feed.window(record.epoch, first // batches),
                held_out,
                loss=self.loss,
                optimizer=self.optimizer,
                batch_size=self.batch_size,
                ema=self.ema,
                placement=self.placement,
            )
            if before is not None and before.stuck:
                break  # the window just given takes no step
            before = outcome
        # All in one wait: after each of several, the reader of a stream would go first.
        jax.device_get((state.step, state.steps.skipped, outcome))
        return state, outcome

    def _identity(self, state: FitState) -> dict[str, Any]:
        """What two runs must share for one to go on where the other ended."""
        return {
            "key": key_data(self.key).tolist(),
            "batch_size": self.batch_size,
            "max_epochs": self.max_epochs,
            "ema": self.ema,
            "monitor": self.monitor,
            "metrics": list(self.metrics),
            "data": self.feed.checksum(),
            "windows": self.feed.num_windows,
            "optimizer": self.optimizer_settings,
            "loss": fingerprint(self.loss),
            "flow": fingerprint(state.train.flow),
        }

    def _measured(self, state: FitState) -> dict[str, float]:
        """The metrics of the model that is validated, the same in all processes."""
        if not self.metrics:
            return {}
        flow = self.placement.to_default(state.candidate)
        values = [float(metric(flow)) for metric in self.metrics.values()]
        if jax.process_count() > 1:
            values = multihost_utils.broadcast_one_to_all(np.array(values, np.float32)).tolist()
        return dict(zip(self.metrics, values, strict=True))

    def _steps_done(self, record: Record, state: FitState) -> int:
        """Since the start of the run; a state at the end of an epoch counts as its end."""
        step = int(state.step) % self.feed.num_steps
        return record.epoch * self.feed.num_steps + step

    def _next_save(self, record: Record, state: FitState) -> int:
        """The step of this epoch to stop before: its last, or to save."""
        if self.checkpoint is None:
            return self.feed.num_steps
        every, done = self.checkpoint.every, self._steps_done(record, state)
        due = done + every - done % every - record.epoch * self.feed.num_steps
        return min(due, self.feed.num_steps)

    def _is_due(self, record: Record, state: FitState) -> bool:
        assert self.checkpoint is not None
        over = record.is_over(self.max_epochs, self.patience)
        return over or self._steps_done(record, state) % self.checkpoint.every == 0

    def _note_skipped(self, record: Record, state: FitState) -> None:
        skipped = np.flatnonzero(np.asarray(state.steps.skipped)[: int(state.step)])
        if record.first_skipped is None and skipped.size:
            record.first_skipped = record.epoch, int(skipped[0])

    def _go_back(self, record: Record, state: FitState, epoch: int) -> FitState:
        if record.returns == MOST_RETURNS:
            step = int(state.step) - 1
            flow, best = self.placement.to_default((state.train.flow, state.best))
            raise DivergedError(
                f"{MOST_SKIPPED} steps in a row were not finite, up to step {step} of epoch "
                f"{epoch}, and the run had gone back to its best parameters "
                f"{MOST_RETURNS} times: {self._describe(flow, epoch, step)}; "
                f"{describe_largest(flow)}; the best model, of "
                f"{_name(record.best_epoch)}, is this error's `result.flow`: {ADVICE}",
                record.result(best),
            )
        record.returns += 1
        return go_back(state)

    def _describe(self, flow: Flow, epoch: int, step: int) -> str:
        """The rows of one batch."""
        return describe_rows(flow, self.feed.batch(self.key, epoch, step), self.loss)

    def _report(self, record: Record, best: Flow) -> None:
        """Say at the end what has gone wrong on the way."""
        if record.best_epoch < 0:
            raise DivergedError(
                f"no epoch of {record.epoch} had a finite {self.monitor!r}, so no parameters could "
                f"be chosen; this error's `result.flow` is untrained: {ADVICE}",
                record.result(best),
            )
        if record.first_skipped is not None:
            skipped = int(sum(record.history["skipped"]))
            epoch, step = record.first_skipped
            warnings.warn(
                f"{skipped} of {record.epoch * self.feed.num_steps} steps were skipped, as their "
                f"loss or gradient was not finite, first step {step} of epoch {epoch}: under the "
                f"parameters returned, {self._describe(best, epoch, step)}"
                + (f"; the run went back {record.returns} times" if record.returns else ""),
                RuntimeWarning,
                stacklevel=4,
            )


def _name(best_epoch: int) -> str:
    return f"epoch {best_epoch}" if best_epoch >= 0 else "before the first epoch"
