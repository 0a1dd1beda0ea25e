"""What a run is told, checked before anything compiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

import optax
from jax import Array

from flowjax_lite.core.checks import check_choice, check_positive_int
from flowjax_lite.distributions import AbstractBase
from flowjax_lite.distributions.flow import flow_of_base
from flowjax_lite.distributions.model import AbstractModel
from flowjax_lite.losses import Loss
from flowjax_lite.training.checkpoint import Checkpoint
from flowjax_lite.training.optimizer import AdamW
from flowjax_lite.training.record import HISTORY, Callback, Metric


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all runs are told; the attributes have the names and the meaning that `fit` gives them.

    Raises:
        TypeError, ValueError: one is of another kind, or out of range.
    """

    key: Array
    loss: Loss
    optimizer: AdamW | optax.GradientTransformation
    batch_size: int | None = None
    max_epochs: int
    patience: int | None
    ema: float | None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    monitor: str = "validation"
    callbacks: Sequence[Callback] = ()
    checkpoint: Checkpoint | None = None
    progress: bool

    def __post_init__(self) -> None:
        if not callable(self.loss):
            raise TypeError(
                f"loss is {self.loss!r}; expected a function of (flow, x, condition, weights, "
                f"key), such as fl.negative_log_likelihood"
            )
        if self.batch_size is not None:
            check_positive_int(self.batch_size, "batch_size")
        if self.patience is not None:
            check_positive_int(self.patience, "patience")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(
                f"ema is {self.ema}; expected a decay between 0 and 1, such as 0.999, or None"
            )
        for name in HISTORY & self.metrics.keys():
            raise ValueError(f"metrics names {name!r}, which the history has already; rename it")
        check_choice(self.monitor, ("validation", "train", *self.metrics), "monitor")


def as_flow(model: Any) -> Any:
    """The flow, or other model, that is trained; a base alone is the flow without layers.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(model, AbstractBase):
        return flow_of_base(model)
    if not isinstance(model, AbstractModel):
        raise TypeError(
            f"flow is a {type(model).__name__}; expected a Flow, such as fl.flows.maf(...), a "
            f"base of fl.distributions, or a model such as fl.inference.VAE"
        )
    return model


def as_optimizer(
    optimizer: Any, learning_rate: float | None
) -> AdamW | optax.GradientTransformation:
    """The optimizer that is given, or that of a learning rate.

    Raises:
        TypeError: it is of another kind.
        ValueError: both are given.
    """
    if optimizer is None:
        return AdamW() if learning_rate is None else AdamW(learning_rate)
    if not isinstance(optimizer, AdamW | optax.GradientTransformation):
        raise TypeError(
            f"optimizer is {optimizer!r}; expected fl.AdamW(...) or an optax transformation, such "
            f"as optax.adam(1e-3), or None for fl.AdamW(learning_rate)"
        )
    if learning_rate is not None:
        raise ValueError(
            "learning_rate is given beside an optimizer, which has a rate of its own: leave one of "
            "them out, or give it to the optimizer, as in fl.AdamW(learning_rate)"
        )
    return optimizer


def as_checkpoint(checkpoint: Any) -> Checkpoint | None:
    """Where a run saves itself; a path is the directory of a run that goes on if it is there.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(checkpoint, str | PathLike):
        return Checkpoint(checkpoint, resume=True)
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        raise TypeError(
            f"checkpoint is {checkpoint!r}; expected a directory, or fl.Checkpoint(directory, ...)"
        )
    return checkpoint
