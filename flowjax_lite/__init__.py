"""Normalizing flows on JAX: exact likelihood, exact sampling."""

from flowjax_lite import (
    baselines,
    bijectors,
    conditioners,
    continuous,
    data,
    diagnostics,
    distributions,
    flows,
    inference,
    interop,
    io,
    losses,
    plot,
    training,
    transformers,
)
from flowjax_lite.core.mesh import all_devices
from flowjax_lite.diagnostics import diagnose
from flowjax_lite.distributions import Flow, initialize
from flowjax_lite.io import load, save
from flowjax_lite.losses import (
    distillation,
    flow_matching,
    forward_kl,
    importance_weighted,
    negative_log_likelihood,
    regularized_likelihood,
    reverse_kl,
)
from flowjax_lite.training import (
    AdamW,
    Checkpoint,
    DivergedError,
    FitResult,
    TrainState,
    fit,
    fit_density,
    fit_ensemble,
    make_train_step,
)

__version__ = "0.2.0"

__all__ = [
    "AdamW",
    "Checkpoint",
    "DivergedError",
    "FitResult",
    "Flow",
    "TrainState",
    "all_devices",
    "baselines",
    "bijectors",
    "conditioners",
    "continuous",
    "data",
    "diagnose",
    "diagnostics",
    "distillation",
    "distributions",
    "fit",
    "fit_density",
    "fit_ensemble",
    "flow_matching",
    "flows",
    "forward_kl",
    "importance_weighted",
    "inference",
    "initialize",
    "interop",
    "io",
    "load",
    "losses",
    "make_train_step",
    "negative_log_likelihood",
    "plot",
    "regularized_likelihood",
    "reverse_kl",
    "save",
    "training",
    "transformers",
]
