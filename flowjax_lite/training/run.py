"""A training run, epoch after epoch, and what it does where steps fail."""

import time
import warnings
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax
from jax import Array
from tqdm.auto import tqdm

from flowjax_lite.distributions import Flow
from flowjax_lite.training.checkpoint import (
    Checkpoint,
    checksum_of_arrays,
    opened,
    structure_of,
)
from flowjax_lite.training.devices import Placement
from flowjax_lite.training.epoch import (
    MOST_SKIPPED,
    FitState,
    advance,
    batch_index,
    epoch_order,
    first_state,
    go_back,
)
from flowjax_lite.training.failure import ADVICE, DivergedError, describe_largest, describe_rows
from flowjax_lite.training.record import Callback, FitResult, Record
from flowjax_lite.training.rows import SplitRows, key_data
from flowjax_lite.training.step import Loss

# A run that goes back more often will not come to an end by itself.
MOST_RETURNS = 3


@dataclass(frozen=True)
class Run:
    """All that `fit` has checked and chosen; calling it trains a flow."""

    rows: SplitRows
    key: Array
    loss: Loss
    optimizer: optax.GradientTransformation
    optimizer_settings: str
    batch_size: int
    max_epochs: int
    patience: int | None
    ema: float | None
    callbacks: tuple[Callback, ...]
    checkpoint: Checkpoint | None
    placement: Placement

    @property
    def num_steps(self) -> int:
        """Steps of an epoch."""
        return len(batch_index(self.rows.train.num_rows, self.batch_size)[0])

    def __call__(self, flow: Flow, *, progress: bool) -> FitResult:
        """Train a flow, which is left as it is, and return the best one."""
        settings = {
            "loss": self.loss,
            "optimizer": self.optimizer,
            "batch_size": self.batch_size,
            "ema": self.ema,
            "placement": self.placement,
        }
        state = first_state(flow, optimizer=self.optimizer, num_steps=self.num_steps, ema=self.ema)
        record = Record()
        identity = self._identity(state) if self.checkpoint else {}
        with opened(self.checkpoint, identity, num_devices=self.placement.num_parts) as checkpoints:
            if checkpoints and (saved := checkpoints.restore(state)):
                state, record = saved
            state = self.placement.put_state(state)
            rows = self.placement.put((self.rows.train, self.rows.validation))
            start = time.perf_counter() - record.seconds
            with tqdm(
                total=self.max_epochs, initial=record.epoch, disable=not progress, unit="epoch"
            ) as bar:
                while not self._is_over(record):
                    stop = self._next_stop(record, state)
                    state, train, validation = advance(
                        state, self.key, record.epoch, stop, *rows, **settings
                    )
                    self._note_skipped(record, state)
                    if int(state.streak) == MOST_SKIPPED:
                        state = self._go_back(record, state)
                    if int(state.step) == self.num_steps:
                        losses = float(train), float(validation)
                        record.add(*losses, state.steps, time.perf_counter() - start)
                        bar.set_postfix(train=f"{losses[0]:.4f}", validation=f"{losses[1]:.4f}")
                        bar.update()
                        now = record.progress(state.train.flow, state.best)
                        record.stopped = any([callback(now) for callback in self.callbacks])
                    if checkpoints and self._is_due(record, state):
                        step, whole = self._steps_done(record, state), self.placement.to_host(state)
                        checkpoints.save(step, whole, record)
        best = self.placement.to_default(state.best)
        self._report(record, best)
        return record.result(best)

    def _identity(self, state: FitState) -> dict[str, Any]:
        """What two runs must share for one to go on where the other ended."""
        return {
            "key": key_data(self.key).tolist(),
            "batch_size": self.batch_size,
            "max_epochs": self.max_epochs,
            "ema": self.ema,
            "data": checksum_of_arrays((self.rows.train, self.rows.validation)),
            "optimizer": self.optimizer_settings,
            "flow": structure_of(state),
        }

    def _steps_done(self, record: Record, state: FitState) -> int:
        """Since the start of the run; a state at the end of an epoch counts as its end."""
        step = int(state.step) % self.num_steps
        return record.epoch * self.num_steps + step

    def _next_stop(self, record: Record, state: FitState) -> int:
        """The step of this epoch to stop before: that of the next save, or the end."""
        if self.checkpoint is None:
            return self.num_steps
        every, done = self.checkpoint.every, self._steps_done(record, state)
        return min(self.num_steps, done + every - done % every - record.epoch * self.num_steps)

    def _is_due(self, record: Record, state: FitState) -> bool:
        assert self.checkpoint is not None
        return self._is_over(record) or self._steps_done(record, state) % self.checkpoint.every == 0

    def _is_over(self, record: Record) -> bool:
        waited = record.epoch - 1 - record.best_epoch
        impatient = self.patience is not None and record.epoch > 0 and waited >= self.patience
        return record.stopped or record.epoch >= self.max_epochs or impatient

    def _note_skipped(self, record: Record, state: FitState) -> None:
        skipped = np.flatnonzero(np.asarray(state.steps.skipped)[: int(state.step)])
        if record.first_skipped is None and skipped.size:
            record.first_skipped = record.epoch, int(skipped[0])

    def _go_back(self, record: Record, state: FitState) -> FitState:
        if record.returns == MOST_RETURNS:
            step = int(state.step) - 1
            flow, best = self.placement.to_default((state.train.flow, state.best))
            raise DivergedError(
                f"{MOST_SKIPPED} steps in a row were not finite, up to step {step} of epoch "
                f"{record.epoch}, and the run had gone back to its best parameters "
                f"{MOST_RETURNS} times: {self._describe(flow, record.epoch, step)}; "
                f"{describe_largest(flow)}; the best model, of "
                f"{_name(record.best_epoch)}, is this error's `result.flow`: {ADVICE}",
                record.result(best),
            )
        record.returns += 1
        return go_back(state)

    def _describe(self, flow: Flow, epoch: int, step: int) -> str:
        """The rows of one batch."""
        index, valid = (
            part[step] for part in batch_index(self.rows.train.num_rows, self.batch_size)
        )
        order = np.asarray(
            epoch_order(jax.random.fold_in(self.key, epoch), self.rows.train.num_rows)
        )
        taken = order[index[valid]]
        batch = jax.tree.map(lambda array: array[taken], self.rows.train)
        return describe_rows(flow, batch, self.rows.positions[taken], self.loss)

    def _report(self, record: Record, best: Flow) -> None:
        """Say at the end what has gone wrong on the way."""
        if record.best_epoch < 0:
            raise DivergedError(
                f"no epoch of {record.epoch} had a finite validation loss, so no parameters could "
                f"be chosen; this error's `result.flow` is untrained: {ADVICE}",
                record.result(best),
            )
        if record.first_skipped is not None:
            skipped = int(sum(record.history["skipped"]))
            epoch, step = record.first_skipped
            warnings.warn(
                f"{skipped} of {record.epoch * self.num_steps} steps were skipped, as their loss "
                f"or gradient was not finite, first step {step} of epoch {epoch}: under the "
                f"parameters returned, {self._describe(best, epoch, step)}"
                + (f"; the run went back {record.returns} times" if record.returns else ""),
                RuntimeWarning,
                stacklevel=4,
            )


def _name(best_epoch: int) -> str:
    return f"epoch {best_epoch}" if best_epoch >= 0 else "before the first epoch"
