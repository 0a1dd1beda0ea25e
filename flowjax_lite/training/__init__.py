"""The training step, `fit` and `fit_density`."""

from flowjax_lite.training.checkpoint import Checkpoint
from flowjax_lite.training.density import fit_density
from flowjax_lite.training.ensemble import EnsembleResult, fit_ensemble
from flowjax_lite.training.fit import fit
from flowjax_lite.training.log import LogFile, TensorBoard
from flowjax_lite.training.optimizer import SCHEDULES, AdamW, params_only
from flowjax_lite.training.range_test import RangeTest, find_learning_rate
from flowjax_lite.training.record import Callback, DivergedError, FitResult, Progress
from flowjax_lite.training.step import TrainState, make_train_step

__all__ = [
    "SCHEDULES",
    "AdamW",
    "Callback",
    "Checkpoint",
    "DivergedError",
    "EnsembleResult",
    "FitResult",
    "LogFile",
    "Progress",
    "RangeTest",
    "TensorBoard",
    "TrainState",
    "find_learning_rate",
    "fit",
    "fit_density",
    "fit_ensemble",
    "make_train_step",
    "params_only",
]
