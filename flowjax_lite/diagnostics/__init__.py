"""What can be wrong with the numbers of a flow, and with what is inferred by it."""

from flowjax_lite.diagnostics.pareto import effective_sample_size, pareto_k, smooth_log_weights
from flowjax_lite.diagnostics.report import Diagnosis, SolverReport, diagnose, solver_error, ways

__all__ = [
    "Diagnosis",
    "SolverReport",
    "diagnose",
    "effective_sample_size",
    "pareto_k",
    "smooth_log_weights",
    "solver_error",
    "ways",
]
