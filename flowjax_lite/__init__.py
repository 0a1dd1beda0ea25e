"""Normalizing flows on JAX: exact likelihood, exact sampling."""

from flowjax_lite import (
    bijectors,
    conditioners,
    continuous,
    data,
    distributions,
    flows,
    transformers,
)
from flowjax_lite.distributions import Flow, diagnose, initialize
from flowjax_lite.flows import load, save
from flowjax_lite.training import (
    AdamW,
    Checkpoint,
    DivergedError,
    FitResult,
    TrainState,
    all_devices,
    distillation,
    fit,
    fit_ensemble,
    flow_matching,
    importance_weighted,
    make_train_step,
    negative_log_likelihood,
    regularized_likelihood,
    reverse_kl,
)

__version__ = "0.1.0"

__all__ = [
    "AdamW",
    "Checkpoint",
    "DivergedError",
    "FitResult",
    "Flow",
    "TrainState",
    "all_devices",
    "bijectors",
    "conditioners",
    "continuous",
    "data",
    "diagnose",
    "distillation",
    "distributions",
    "fit",
    "fit_ensemble",
    "flow_matching",
    "flows",
    "importance_weighted",
    "initialize",
    "load",
    "make_train_step",
    "negative_log_likelihood",
    "regularized_likelihood",
    "reverse_kl",
    "save",
    "transformers",
]
