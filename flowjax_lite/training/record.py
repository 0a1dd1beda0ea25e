"""What a run finds, epoch after epoch, and what it returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jax import Array

from flowjax_lite.distributions import Flow
from flowjax_lite.training.epoch import Steps


@dataclass(frozen=True)
class FitResult:
    """What training returns.

    Attributes:
        flow: the model of the best epoch.
        history: per epoch, as tuples of equal length: "train" and "validation" losses (nats
            per event for the default loss), the mean "gradient_norm", how many steps were
            "skipped", "seconds" since the start of training, the last "learning_rate" where the
            optimizer tells it, and each metric.
        best_epoch: index into the history of the returned model.
    """

    flow: Flow
    history: Mapping[str, tuple[float, ...]]
    best_epoch: int


@dataclass(frozen=True)
class Progress:
    """What a callback of `fit` is given after each epoch.

    The next step gives the buffers of both models up: copy what is to be kept.

    Attributes:
        epoch: the epoch that has ended, from 0.
        history: of all epochs done, as in `FitResult`.
        best_epoch: the best of them; -1 before there is one.
        flow: the model as it is.
        best: the model of the best epoch.
    """

    epoch: int
    history: Mapping[str, Sequence[float]]
    best_epoch: int
    flow: Flow
    best: Flow


Callback = Callable[[Progress], bool | None]
Metric = Callable[[Flow], float | Array]
HISTORY = ("train", "validation", "gradient_norm", "skipped", "seconds", "learning_rate")


@dataclass
class Record:
    """What a run keeps on the host: plain numbers.

    Attributes:
        history: of all epochs done, as in `FitResult`.
        best_epoch: the best of them; -1 before there is one.
        first_skipped: epoch and step of the first step that was skipped, if any.
        returns: how often the run went back to the best parameters.
        stopped: whether a callback has ended the run.
    """

    history: dict[str, list[float]] = field(
        default_factory=lambda: {
            name: [] for name in ("train", "validation", "gradient_norm", "skipped", "seconds")
        }
    )
    best_epoch: int = -1
    first_skipped: tuple[int, int] | None = None
    returns: int = 0
    stopped: bool = False

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history["train"])

    @property
    def seconds(self) -> float:
        """Since the start of training, at the end of the last epoch."""
        return self.history["seconds"][-1] if self.epoch else 0.0

    def add(self, values: Mapping[str, float], *, monitor: str) -> bool:
        """Add an epoch, and say whether it is the best.

        Args:
            values: of the history, by name.
            monitor: which of them is to be low.
        """
        best = self.history[monitor][self.best_epoch] if self.best_epoch >= 0 else np.inf
        is_best = bool(np.isfinite(values[monitor]) and values[monitor] < best)
        if is_best:
            self.best_epoch = self.epoch
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)
        return is_best

    def is_over(self, max_epochs: int, patience: int | None) -> bool:
        """Whether a run ends: by a callback, its length, or too long without a better epoch."""
        waited = self.epoch - 1 - self.best_epoch
        impatient = patience is not None and self.epoch > 0 and waited >= patience
        return self.stopped or self.epoch >= max_epochs or impatient

    def progress(self, flow: Flow, best: Flow) -> Progress:
        """What callbacks are given."""
        return Progress(self.epoch - 1, self._history, self.best_epoch, flow, best)

    def result(self, best: Flow) -> FitResult:
        """What training returns, given the best model so far."""
        return FitResult(best, self._history, self.best_epoch)

    @property
    def _history(self) -> dict[str, tuple[float, ...]]:
        return {name: tuple(values) for name, values in self.history.items()}


def found(steps: Steps, learning_rate: np.ndarray | None) -> dict[str, float]:
    """What the steps of an epoch found, for the history.

    Args:
        steps: all of them.
        learning_rate: of the last one, where it is known.
    """
    skipped = np.asarray(steps.skipped)
    norms = np.asarray(steps.gradient_norm)[~skipped & (np.asarray(steps.weight) > 0)]
    values = {"gradient_norm": float(norms.mean()) if norms.size else float("nan")}
    values["skipped"] = int(skipped.sum())
    return values if learning_rate is None else values | {"learning_rate": float(learning_rate)}
