"""What can be wrong with the numbers of a flow, and with what is inferred by it."""

from flowjax_lite.diagnostics.calibration import (
    Ranks,
    expected_coverage,
    sbc_ranks,
    tarp,
)
from flowjax_lite.diagnostics.pareto import effective_sample_size, pareto_k, smooth_log_weights
from flowjax_lite.diagnostics.report import Diagnosis, SolverReport, diagnose, solver_error, ways
from flowjax_lite.diagnostics.sample_quality import (
    PrecisionRecall,
    frechet_distance,
    nearest_distances,
    precision_recall,
)
from flowjax_lite.diagnostics.two_sample import c2st

__all__ = [
    "Diagnosis",
    "PrecisionRecall",
    "Ranks",
    "SolverReport",
    "c2st",
    "diagnose",
    "effective_sample_size",
    "expected_coverage",
    "frechet_distance",
    "nearest_distances",
    "pareto_k",
    "precision_recall",
    "sbc_ranks",
    "smooth_log_weights",
    "solver_error",
    "tarp",
    "ways",
]
