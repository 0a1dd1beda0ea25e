"""What can be wrong with the numbers of a flow, and with what is inferred by it."""

from flowjax_lite.diagnostics.calibration import (
    Ranks,
    expected_coverage,
    sbc_ranks,
    tarp,
)
from flowjax_lite.diagnostics.pareto import effective_sample_size, pareto_k, smooth_log_weights
from flowjax_lite.diagnostics.report import Diagnosis, SolverReport, diagnose, solver_error, ways
from flowjax_lite.diagnostics.two_sample import c2st

__all__ = [
    "Diagnosis",
    "Ranks",
    "SolverReport",
    "c2st",
    "diagnose",
    "effective_sample_size",
    "expected_coverage",
    "pareto_k",
    "sbc_ranks",
    "smooth_log_weights",
    "solver_error",
    "tarp",
    "ways",
]
