"""Everything public that can be built, each with the values it is tried on."""

from battery.registry.bases import BASES
from battery.registry.bijectors import BIJECTORS, Flat, autoregressive, coupling, standardize
from battery.registry.conditioners import CONDITIONERS, FlatNetwork, made, mlp
from battery.registry.continuous import CONTINUOUS
from battery.registry.flows import AMORTIZED, FLOWS, GENERIC, ON_REALS, flow, network
from battery.registry.item import CIRCLE, CONDITION_DIM, DIM, HIDDEN, REAL, SMOOTH, Domain, Item
from battery.registry.transformers import SPLINE, TRANSFORMERS

ALL: dict[str, Item] = {
    **TRANSFORMERS,
    **CONDITIONERS,
    **BIJECTORS,
    **CONTINUOUS,
    **BASES,
    **FLOWS,
}

__all__ = [
    "ALL",
    "AMORTIZED",
    "BASES",
    "BIJECTORS",
    "CIRCLE",
    "CONDITIONERS",
    "CONDITION_DIM",
    "CONTINUOUS",
    "DIM",
    "FLOWS",
    "GENERIC",
    "HIDDEN",
    "ON_REALS",
    "REAL",
    "SMOOTH",
    "SPLINE",
    "TRANSFORMERS",
    "Domain",
    "Flat",
    "FlatNetwork",
    "Item",
    "autoregressive",
    "coupling",
    "flow",
    "made",
    "mlp",
    "network",
    "standardize",
]
