"""How well a flow's differential equations were solved."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.bijectors.compose import condition_of
from flowjax_lite.continuous import Solver, Transport, change_solvers, solvers, transport
from flowjax_lite.distributions.flow import Flow


@dataclass(frozen=True)
class SolverReport:
    """What `diagnose` found of the solves for log-densities.

    Attributes:
        failed: (failures,), the rows whose solve failed.
        evaluations: (rows,), how often a velocity was evaluated.
        error: (rows,), the estimated error of the log-density, in nats; see `solver_error`.
        max_steps: the limit of steps.
    """

    failed: np.ndarray
    evaluations: np.ndarray
    error: np.ndarray
    max_steps: int


def solver_error(flow: Flow, x: Array, condition: Array | None = None) -> Array:
    """How far log-densities are off because a differential equation was solved in steps.

    The densities are found again, by a method of order 8 with a tenth of the tolerances, or with
    twice the number of steps of a constant size, and the difference is the estimate. Halving
    steps halves an error at least, so there it is twice the difference. Below some 1e-5 in
    single precision it is rounding.

    Args:
        flow: a model with a `ContinuousFlow`.
        x: (..., *event_shape).
        condition: (..., *condition_shape).

    Returns:
        (...), in nats, not negative; NaN where a solve failed.

    Raises:
        ValueError: the flow holds no `ContinuousFlow`.
    """
    if not solvers(flow):
        raise ValueError("the flow holds no ContinuousFlow, so no solver makes an error")
    finer = change_solvers(flow, Solver.finer)
    constant = any(solver.num_steps is not None for solver in solvers(flow))
    difference = jnp.abs(finer.log_prob(x, condition) - flow.log_prob(x, condition))
    return 2 * difference if constant else difference


def solver_report(flow: Flow, x: Array, condition: Array | None) -> SolverReport:
    """What `diagnose` says of the solves."""
    way = ways(flow, x, condition)
    return SolverReport(
        failed=np.flatnonzero(~np.asarray(way.succeeded)),
        evaluations=np.asarray(way.num_evaluations),
        error=np.asarray(solver_error(flow, x, condition)),
        max_steps=min(solver.most_steps for solver in solvers(flow)),
    )


@jax.jit
def ways(flow: Flow, x: Array, condition: Array | None = None) -> Transport:
    """How each row goes from the data to the latent, through all continuous flows together.

    Args:
        flow: a model with a `ContinuousFlow`.
        x: (rows, *event_shape).
        condition: (rows, *condition_shape), where the flow takes one.

    Returns:
        What `continuous.transport` says of one event, with a leading axis of rows.
    """

    def one(x: Array, condition: Array | None) -> Transport:
        given = condition_of(flow.bijector, flow.map_condition(condition))
        return transport(flow.bijector, x, given, inverse=True)

    return jax.vmap(one)(x, condition)
