"""Normalizing flows on JAX: exact likelihood, exact sampling."""

from flowjax_lite import bijectors, conditioners, data, distributions, flows, transformers
from flowjax_lite.distributions import Flow, initialize
from flowjax_lite.flows import load, save
from flowjax_lite.training import (
    FitResult,
    TrainState,
    fit,
    make_train_step,
    negative_log_likelihood,
)

__version__ = "0.1.0"

__all__ = [
    "FitResult",
    "Flow",
    "TrainState",
    "bijectors",
    "conditioners",
    "data",
    "distributions",
    "fit",
    "flows",
    "initialize",
    "load",
    "make_train_step",
    "negative_log_likelihood",
    "save",
    "transformers",
]
