"""Densities to learn on: functions of one event, exact where they can be."""

from flowjax_lite.inference.targets.base import AbstractTarget
from flowjax_lite.inference.targets.particles import DW4, LJ13
from flowjax_lite.inference.targets.posteriors import (
    ARK,
    GARCH11,
    AbstractPosterior,
    EightSchools,
    KidScoreInteraction,
)
from flowjax_lite.inference.targets.shapes import (
    DoubleWell,
    Funnel,
    ManyWells,
    MixtureOf40Gaussians,
    RezendeMohamed,
)

__all__ = [
    "ARK",
    "DW4",
    "GARCH11",
    "LJ13",
    "AbstractPosterior",
    "AbstractTarget",
    "DoubleWell",
    "EightSchools",
    "Funnel",
    "KidScoreInteraction",
    "ManyWells",
    "MixtureOf40Gaussians",
    "RezendeMohamed",
]
