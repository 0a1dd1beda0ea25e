"""How an ordinary differential equation is solved: by diffrax, with these settings."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import Array

from flowjax_lite.continuous.replay import Method, Steps, Tableau, VectorField, end_of_steps
from flowjax_lite.core.checks import check_choice, check_positive_int
from flowjax_lite.core.extra import import_extra
from flowjax_lite.core.recipe import Recorded

SolverMethod = Literal["tsit5", "dopri5", "dopri8", "bosh3", "heun", "midpoint", "euler"]
METHODS: tuple[str, ...] = get_args(SolverMethod)
# The gradients that are diffrax's.
_ADJOINTS = {
    "checkpoint": "RecursiveCheckpointAdjoint",
    "backsolve": "BacksolveAdjoint",
    "direct": "DirectAdjoint",
}
Adjoint = Literal["replay", "checkpoint", "backsolve", "direct"]
ADJOINTS: tuple[str, ...] = get_args(Adjoint)
# How the size of the next step follows from the errors of this one and the one before, by
# proportional and integral control. On networks the error is a third of that by integral control
# alone, in as many steps, and few are rejected. Söderlind, 2002, doi:10.1023/A:1021160023092.
_PI = {"pcoeff": 0.3, "icoeff": 0.4}
# The first step tried, as a part of the way, is this times the root of the tolerance in which the
# error of a step grows: diffrax's own choice takes two evaluations. On networks the first step is
# then about as long as the next ones.
_FIRST = 0.45


class Solution(NamedTuple):
    """The state at the end, and what it took.

    Attributes:
        state: at the last time; of no use unless `succeeded`.
        num_evaluations: of the right-hand side, but for those that choose the first step.
        succeeded: whether the last time was reached, with a finite state.
    """

    state: Any
    num_evaluations: Array
    succeeded: Array


@dataclass(frozen=True)
class Solver(Recorded):
    """A Runge-Kutta method, its error control, and how gradients are found.

    Attributes:
        method: "tsit5", "dopri5", "dopri8" or "bosh3", and "heun", "midpoint" or "euler", of
            lower order, for few steps of a constant size.
        rtol: relative tolerance of a step's error.
        atol: absolute tolerance of a step's error.
        num_steps: number of steps of constant size, without error control; None adapts the
            steps to the tolerances.
        max_steps: a solve that needs more, rejected ones included, has failed. Gradients keep a
            state for each of them.
        adjoint: how gradients are found. "replay" differentiates the steps taken, one after the
            other and for a whole batch at once, in every mode of differentiation; it keeps the
            state of each step. The others are diffrax's, for which a batch of gradients costs a
            gradient of all weights for each event: "checkpoint" keeps few steps, in reverse mode
            alone; "backsolve" solves another equation back in time, keeps nothing, and has errors
            of its own; "direct" keeps all of each step.
    """

    method: str = "tsit5"
    # In single precision log-densities are then right to 1e-4, round trips to 1e-4 of the scale;
    # with 1e-5 to 3e-3 and 2e-3, for the worst of 2500 rows of a trained flow.
    rtol: float = 1e-7
    atol: float = 1e-7
    num_steps: int | None = None
    max_steps: int = 256
    adjoint: str = "replay"

    def __post_init__(self) -> None:
        check_choice(self.method, METHODS, "method")
        check_choice(self.adjoint, ADJOINTS, "adjoint")
        check_positive_int(self.max_steps, "max_steps")
        if self.num_steps is not None:
            check_positive_int(self.num_steps, "num_steps")
        for name, value in (("rtol", self.rtol), ("atol", self.atol)):
            if not (0 < value < math.inf):
                raise ValueError(f"{name} is {value!r}; expected a positive number such as 1e-5")
        if self.method == "euler" and self.num_steps is None:
            raise ValueError(
                'method "euler" has no error estimate to adapt steps by: give num_steps, or '
                'choose "tsit5"'
            )

    def solve(
        self,
        field: VectorField,
        state: Any,
        args: Any,
        start: Array | float,
        stop: Array | float,
    ) -> Solution:
        """Integrate dstate/dt = field(t, state, args) from one time to another.

        Args:
            field: the right-hand side; what it closes over is not differentiated.
            state: at the first time, a pytree of arrays of one dtype.
            args: what gradients are asked for, beside those of the state: a pytree.
            start: the first time, a scalar. Times are not differentiated.
            stop: the last time, before or after the first one.
        """
        tableau = self._tableau
        dtype = jax.tree.leaves(state)[0].dtype
        times = jnp.asarray(start, dtype), jnp.asarray(stop, dtype)
        if self.adjoint == "replay":
            state, steps = end_of_steps(Method(self._run, tableau), field, state, args, times)
        else:
            state, steps = self._run(field, state, args, times)
        num_evaluations = tableau.num_stages * steps.num_tried + tableau.first_same_as_last
        finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(state)]
        return Solution(state, num_evaluations, steps.succeeded & jnp.stack(finite).all())

    def _run(
        self,
        field: VectorField,
        state: Any,
        args: Any,
        times: tuple[Array, Array],
        *,
        every_step: bool = False,
    ) -> tuple[Any, Steps]:
        """The solve itself, by diffrax: the state at the end, or the first and all that follow."""
        diffrax = _diffrax()
        method = getattr(diffrax, self.method.capitalize())()
        if self.num_steps is None:
            controller = diffrax.PIDController(rtol=self.rtol, atol=self.atol, **_PI)
            part = _FIRST * max(self.rtol, self.atol) ** (1 / (method.order(None) + 1))
            step = (times[1] - times[0]) * min(part, 1.0)
        else:
            controller = diffrax.ConstantStepSize()
            step = (times[1] - times[0]) / self.num_steps
        adjoint = _ADJOINTS.get(self.adjoint, "ForwardMode")
        term = diffrax.ODETerm(field)
        reused = method.init(term, *times, state, args)
        if self._tableau.first_same_as_last and self.adjoint != "backsolve":
            # diffrax finds the first slope again, for all events of a batch, as long as one of
            # them has had no step accepted. It is given from the start; going back along the
            # equation, diffrax has no derivative of it.
            reused = (jnp.asarray(False), term.vf(times[0], state, args))
        solution = diffrax.diffeqsolve(
            term,
            method,
            *times,
            step,
            state,
            args,
            solver_state=reused,
            saveat=diffrax.SaveAt(t0=every_step, t1=not every_step, steps=every_step),
            stepsize_controller=controller,
            adjoint=getattr(diffrax, adjoint)(),
            max_steps=self.most_steps,
            throw=False,
        )
        succeeded = diffrax.is_successful(solution.result)
        stats = solution.stats
        steps = Steps(solution.ts, stats["num_accepted_steps"], stats["num_steps"], succeeded)
        states = solution.ys
        if not every_step:
            states = jax.tree.map(lambda saved: saved[-1], states)
        return states, steps

    def finer(self) -> "Solver":
        """By a method of order 8 with a tenth of the tolerances, or twice the constant steps.

        Smaller tolerances alone would not do: where the first step is already good enough, the
        same method takes the same steps, with the same error.
        """
        if self.num_steps is not None:
            return dataclasses.replace(self, num_steps=2 * self.num_steps)
        return dataclasses.replace(
            self,
            method="dopri8",
            rtol=self.rtol / 10,
            atol=self.atol / 10,
            max_steps=2 * self.max_steps,
        )

    @property
    def most_steps(self) -> int:
        """The number of steps after which a solve ends."""
        return self.max_steps if self.num_steps is None else self.num_steps

    @property
    def _tableau(self) -> Tableau:
        tableau = getattr(getattr(_diffrax(), self.method.capitalize()), "tableau", None)
        if tableau is None:  # Euler has none
            return Tableau((), (1.0,), (0.0,), first_same_as_last=False)
        used = tableau.num_stages - tableau.fsal  # the last stage may be the next step's first
        return Tableau(
            tuple(tuple(map(float, row)) for row in tableau.a_lower[: used - 1]),
            tuple(map(float, tableau.b_sol[:used])),
            (0.0, *map(float, tableau.c[: used - 1])),
            first_same_as_last=tableau.fsal,
        )


def _diffrax() -> Any:
    return import_extra("diffrax", "continuous")
