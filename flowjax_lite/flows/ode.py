"""What the continuous named flows share: equations solved one after the other."""

from collections.abc import Callable

from flax import nnx

from flowjax_lite.bijectors import AbstractBijector
from flowjax_lite.continuous import (
    AbstractDivergence,
    AbstractDynamics,
    ContinuousFlow,
    Exact,
    Hutchinson,
    HutchPlusPlus,
    Solver,
)
from flowjax_lite.core.checks import check_choice, check_positive_int
from flowjax_lite.distributions import AbstractBase, Flow
from flowjax_lite.flows.layers import stack

DIVERGENCES = ("exact", "hutchinson", "hutch++")


def ode_stack(
    make_dynamics: Callable[[nnx.Rngs], AbstractDynamics],
    *,
    dim: int,
    num_layers: int,
    divergence: str,
    num_probes: int,
    solver: Solver,
    base: AbstractBase | None,
    data_map: AbstractBijector | None,
    condition_map: AbstractBijector | None,
    gradient: str,
    rngs: nnx.Rngs,
) -> Flow:
    """Solve an equation with one velocity after the other, and close the flow.

    Args:
        make_dynamics: builds the velocity of one equation.
        dim: dimension of an event.
        num_layers: number of equations.
        divergence: "exact", "hutchinson" or "hutch++".
        num_probes: of an estimate.
        solver: of each equation.
        base: as in `stack`, and so the others.
        data_map: a fixed map to the data.
        condition_map: the same for conditions.
        gradient: what a backward pass keeps of each equation.
        rngs: source of the initial weights.
    """
    estimate = _divergence(divergence, num_probes)

    def make_layer(rngs: nnx.Rngs) -> ContinuousFlow:
        return ContinuousFlow(make_dynamics(rngs), divergence=estimate, solver=solver)

    return stack(
        make_layer,
        dim=dim,
        num_layers=num_layers,
        reorder=False,
        base=base,
        data_map=data_map,
        condition_map=condition_map,
        gradient=gradient,
        rngs=rngs,
    )


def _divergence(name: str, num_probes: int) -> AbstractDivergence:
    check_choice(name, DIVERGENCES, "divergence")
    check_positive_int(num_probes, "num_probes")
    if name == "exact":
        return Exact()
    return Hutchinson(num_probes) if name == "hutchinson" else HutchPlusPlus(num_probes)
