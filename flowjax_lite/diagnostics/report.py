"""What can be wrong with the numbers of a flow: a report."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.bijectors.base import condition_of
from flowjax_lite.continuous import Solver, Transport, change_solvers, solvers, transport
from flowjax_lite.core.checks import listed
from flowjax_lite.distributions.flow import Flow

NUM_NAMED = 5  # rows that a report names
MOST_ENTRIES = 2**20  # of all Jacobians together


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


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found; `print` it for a table with advice.

    Attributes:
        num_rows: rows looked at.
        not_finite: (failures,), the rows whose log-density is NaN or infinite.
        round_trip: the largest difference of an entry after a round trip from the data to the
            latent and back, over 1 + its size; of the rows whose log-density is finite.
        num_jacobians: the rows, from the first on, whose Jacobian was taken.
        log_det_error: the largest difference of a log-determinant from that of the Jacobian, in
            nats; of the same rows.
        condition_number: the largest of these Jacobians. The round trip loses about as many
            digits as it has.
        solver: of a flow with a `ContinuousFlow`, else None.
    """

    num_rows: int
    not_finite: np.ndarray
    round_trip: float
    num_jacobians: int
    log_det_error: float
    condition_number: float
    solver: SolverReport | None

    def __str__(self) -> str:
        lines = [
            ("rows", f"{self.num_rows:,}"),
            ("log-densities not finite", _rows(self.not_finite)),
            ("round trip error, relative", f"{self.round_trip:.1e}"),
            ("log-determinant less autodiff's, nats", f"{self.log_det_error:.1e}"),
            ("condition number of the Jacobian", f"{self.condition_number:.1e}"),
        ]
        solver = self.solver
        if solver is not None:
            mean, most = np.mean(solver.evaluations), np.max(solver.evaluations)
            error = solver.error[np.isfinite(solver.error)]
            lines += [
                ("solves failed", _rows(solver.failed)),
                ("evaluations of the velocity", f"{mean:.0f} on average, {most} at most"),
                ("solver's error of log-densities, nats", f"{error.max(initial=0):.1e} at most"),
            ]
        width = max(len(name) for name, _ in lines)
        table = "\n".join(f"{name:<{width}}  {value}" for name, value in lines)
        if solver is None or not solver.failed.size:
            return table
        return (
            f"{table}\n\nThe solve of some rows did not reach its end within max_steps="
            f"{solver.max_steps}, or met a velocity that is not finite: their densities are NaN. "
            f"Raise max_steps or the tolerances by continuous.with_solver, the latter also where "
            f"networks have a compute_dtype of few digits; look for outliers among these rows; "
            f"or train with regularized_likelihood, which keeps solves short."
        )


def diagnose(flow: Flow, x: Any, condition: Any = None) -> Diagnosis:
    """Look for rows whose numbers cannot be trusted.

    Args:
        flow: the model.
        x: (rows, *event_shape).
        condition: (rows, *condition_shape), where the flow takes one.

    Returns:
        The report.

    Raises:
        TypeError: x or the condition is not floating-point, or a condition is missing.
        ValueError: x or the condition has the wrong shape, or no rows.
    """
    x, condition = jnp.asarray(x), None if condition is None else jnp.asarray(condition)
    if x.ndim != 1 + len(flow.event_shape) or not len(x):
        raise ValueError(
            f"x has shape {x.shape}; diagnose expects (rows, "
            f"{', '.join(map(str, flow.event_shape))}) with at least one row"
        )
    finite = np.isfinite(flow.log_prob(x, condition))
    error = np.asarray(_round_trip(flow, x, condition))[finite]
    num_jacobians = min(len(x), max(1, MOST_ENTRIES // x[0].size ** 2))
    given = None if condition is None else condition[:num_jacobians]
    log_det_error, condition_number = map(np.asarray, _jacobian(flow, x[:num_jacobians], given))
    seen = finite[:num_jacobians]
    return Diagnosis(
        num_rows=len(x),
        not_finite=np.flatnonzero(~finite),
        round_trip=_largest(error),
        num_jacobians=num_jacobians,
        log_det_error=_largest(log_det_error[seen]),
        condition_number=_largest(condition_number[seen]),
        solver=solver_report(flow, x, condition) if solvers(flow) else None,
    )


def _largest(values: np.ndarray) -> float:
    """NaN where any is, or where there is none."""
    return float(values.max()) if values.size else float("nan")


@jax.jit
def _round_trip(flow: Flow, x: Array, condition: Array | None) -> Array:
    """(rows,), the largest relative difference of each."""

    def one(x: Array, condition: Array | None) -> Array:
        given = condition_of(flow.bijector, flow.map_condition(condition))
        back = flow.bijector.forward(flow.bijector.inverse(x, given), given)
        return jnp.max(jnp.abs(back - x) / (1 + jnp.abs(x)))

    return jax.vmap(one)(x, condition)


@jax.jit
def _jacobian(flow: Flow, x: Array, condition: Array | None) -> tuple[Array, Array]:
    """(rows,) each: the error of the log-determinant, and the condition number."""

    def one(x: Array, condition: Array | None) -> tuple[Array, Array]:
        given = condition_of(flow.bijector, flow.map_condition(condition))

        def inverse(entries: Array) -> tuple[Array, Array]:
            z, log_det = flow.bijector.inverse_and_log_det(entries.reshape(x.shape), given)
            return z.ravel(), log_det

        jacobian, log_det = jax.jacfwd(inverse, has_aux=True)(x.ravel())
        scales = jnp.linalg.svd(jacobian, compute_uv=False)
        error = jnp.abs(log_det - jnp.sum(jnp.log(scales)))
        return error, scales[0] / scales[-1]

    return jax.vmap(one)(x, condition)


def _rows(indices: np.ndarray) -> str:
    if not indices.size:
        return "none"
    return f"{indices.size:,}: rows {listed(indices, most=NUM_NAMED)}"


def solver_error(flow: Flow, x: ArrayLike, condition: ArrayLike | None = None) -> Array:
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
