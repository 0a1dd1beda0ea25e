"""What can be wrong with the numbers of a flow."""

from flowjax_lite.diagnostics.report import Diagnosis, SolverReport, diagnose, solver_error, ways

__all__ = [
    "Diagnosis",
    "SolverReport",
    "diagnose",
    "solver_error",
    "ways",
]
