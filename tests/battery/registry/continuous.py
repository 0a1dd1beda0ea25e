"""Flows along a differential equation, in steps so small that only rounding is left."""

from functools import partial

from battery.registry.item import CONDITION_DIM, DIM, HIDDEN, SMOOTH, Item
from flax import nnx

from flowjax_lite.continuous import (
    AbstractDynamics,
    ConcatSquash,
    ContinuousFlow,
    MLPDynamics,
    ResidualDynamics,
    Solver,
)

# Its errors are rounding alone, here.
SHARP = {"method": "tsit5", "num_steps": 100}


def continuous(
    rngs: nnx.Rngs, kind: type[AbstractDynamics], condition_dim: int | None = None
) -> ContinuousFlow:
    """A flow along such dynamics."""
    dynamics = kind(DIM, hidden=HIDDEN, condition_dim=condition_dim, activation=SMOOTH, rngs=rngs)
    return ContinuousFlow(dynamics, solver=Solver(**SHARP))


_conditional = partial(continuous, condition_dim=CONDITION_DIM)
CONTINUOUS = {
    "MLPDynamics": Item(
        partial(continuous, kind=MLPDynamics), dtypes=("float64",), second_order=False, eager=False
    ),
    "ConcatSquash|condition": Item(
        partial(_conditional, kind=ConcatSquash),
        dtypes=("float32",),
        second_order=False,
        eager=False,
    ),
    "ResidualDynamics|condition": Item(
        partial(_conditional, kind=ResidualDynamics),
        dtypes=("float64",),
        second_order=False,
        eager=False,
    ),
}
