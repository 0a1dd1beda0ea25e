"""Flows defined by ordinary differential equations."""

from flowjax_lite.continuous.divergence import (
    AbstractDivergence,
    Exact,
    Hutchinson,
    HutchPlusPlus,
)
from flowjax_lite.continuous.dynamics import (
    AbstractDynamics,
    ConcatSquash,
    MLPDynamics,
    ResidualDynamics,
)
from flowjax_lite.continuous.flow import ContinuousFlow, Energies, Transport
from flowjax_lite.continuous.solver import ADJOINTS, METHODS, Solver
from flowjax_lite.continuous.transport import change_solvers, solvers, transport, with_solver

__all__ = [
    "ADJOINTS",
    "METHODS",
    "AbstractDivergence",
    "AbstractDynamics",
    "ConcatSquash",
    "ContinuousFlow",
    "Energies",
    "Exact",
    "HutchPlusPlus",
    "Hutchinson",
    "MLPDynamics",
    "ResidualDynamics",
    "Solver",
    "Transport",
    "change_solvers",
    "solvers",
    "transport",
    "with_solver",
]
