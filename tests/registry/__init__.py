"""Everything public that can be built, each with the values it is tried on."""

from registry.bases import BASES
from registry.bijectors import BIJECTORS, Flat, autoregressive, coupling, standardize
from registry.conditioners import CONDITIONERS, made, mlp
from registry.continuous import CONTINUOUS
from registry.flows import FLOWS, ON_REALS, flow
from registry.item import CIRCLE, CONDITION_DIM, DIM, HIDDEN, REAL, SMOOTH, Domain, Item
from registry.transformers import SPLINE, TRANSFORMERS

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
    "BASES",
    "BIJECTORS",
    "CIRCLE",
    "CONDITIONERS",
    "CONDITION_DIM",
    "CONTINUOUS",
    "DIM",
    "FLOWS",
    "HIDDEN",
    "ON_REALS",
    "REAL",
    "SMOOTH",
    "SPLINE",
    "TRANSFORMERS",
    "Domain",
    "Flat",
    "Item",
    "autoregressive",
    "coupling",
    "flow",
    "made",
    "mlp",
    "standardize",
]
