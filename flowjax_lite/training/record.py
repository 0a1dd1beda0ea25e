"""What is known of a run: its history, and what it returns or raises."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from jax import Array
from typing_extensions import TypeVar

from flowjax_lite.core.summary import as_html, as_text
from flowjax_lite.distributions import Flow
from flowjax_lite.distributions.model import AbstractModel

Model = TypeVar("Model", bound=AbstractModel, default=Flow)


@dataclass(frozen=True, repr=False)
class FitResult(Generic[Model]):
    """What training returns.

    Attributes:
        flow: the model of the best epoch.
        history: per epoch, as tuples of equal length: "train" and "validation" losses (nats
            per event for the default loss), the mean "gradient_norm", how many steps were
            "skipped", "seconds" since the start of training, the last "learning_rate" where the
            optimizer tells it, and each metric.
        best_epoch: index into the history of the returned model.
        interrupted: whether training was ended by the keyboard or a notebook's stop button.
    """

    flow: Model
    history: Mapping[str, tuple[float, ...]]
    best_epoch: int
    interrupted: bool = False

    def __repr__(self) -> str:
        return as_text("FitResult", self._summary())

    def _repr_html_(self) -> str:
        return as_html("FitResult", self._summary())

    def _summary(self) -> list[tuple[str, object]]:
        """What a user wants to know at first sight."""
        history, best = self.history, self.best_epoch
        epochs = len(history.get("train", ()))
        rows: list[tuple[str, object]] = [
            ("epochs", f"{epochs}, then interrupted" if self.interrupted else epochs)
        ]
        if 0 <= best < epochs:
            losses = (f"{name} {history[name][best]:.4f}" for name in ("train", "validation"))
            rows += [("best epoch", f"{best}, with {', '.join(losses)}")]
            rows += [("seconds", f"{history['seconds'][-1]:.1f}")]
        if skipped := int(sum(history.get("skipped", ()))):
            rows += [("skipped steps", skipped)]
        return rows


class DivergedError(FloatingPointError):
    """Training could not go on; the best model so far is kept here.

    Attributes:
        result: the best model so far, as `fit` would have returned it.
    """

    def __init__(self, message: str, result: FitResult[Any]):
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class Progress(Generic[Model]):
    """What a callback of `fit` is given after each epoch; its models may be kept.

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
    flow: Model
    best: Model


Callback = Callable[[Progress[Any]], bool | None]
Metric = Callable[[Any], float | Array]
HISTORY = {"train", "validation", "gradient_norm", "skipped", "seconds", "learning_rate"}


@dataclass
class Record:
    """What a run keeps on the host: plain numbers.

    Attributes:
        epochs: of each epoch that is done, its part of the history by name.
        best_epoch: the best of them; -1 before there is one.
        first_skipped: epoch and step of the first step that was skipped, if any.
        returns: how often the run went back to the best parameters.
        stopped: whether a callback, or a failure, has ended the run.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    first_skipped: tuple[int, int] | None = None
    returns: int = 0
    stopped: bool = False

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.epochs)

    @property
    def seconds(self) -> float:
        """Since the start of training, at the end of the last epoch."""
        return self.epochs[-1]["seconds"] if self.epochs else 0.0

    @property
    def history(self) -> dict[str, tuple[float, ...]]:
        """As in `FitResult`."""
        names = self.epochs[0] if self.epochs else {}
        return {name: tuple(epoch[name] for epoch in self.epochs) for name in names}

    def add(self, values: dict[str, float], *, monitor: str) -> bool:
        """Add an epoch, and say whether it is the best; one without a finite value never is.

        Args:
            values: of the history, by name.
            monitor: which of them is to be low.
        """
        lowest = self.epochs[self.best_epoch][monitor] if self.best_epoch >= 0 else math.inf
        self.epochs.append(values)
        return math.isfinite(values[monitor]) and values[monitor] < lowest

    def is_over(self, max_epochs: int, patience: int | None) -> bool:
        """Whether a run ends: by a callback, its length, or too long without a better epoch."""
        waited = self.epoch - 1 - self.best_epoch
        impatient = patience is not None and self.epoch > 0 and waited >= patience
        return self.stopped or self.epoch >= max_epochs or impatient
