"""A bijector defined by an ordinary differential equation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.continuous.divergence import AbstractDivergence, Exact
from flowjax_lite.continuous.dynamics import AbstractDynamics
from flowjax_lite.continuous.solver import Solver
from flowjax_lite.core.checks import check_condition, check_event, check_float

LATENT, DATA = 0.0, 1.0  # times
_EXACT, _DEFAULT_SOLVER = Exact(), Solver()


class Energies(NamedTuple):
    """What an event's way costs, for penalties on it.

    Finlay, Jacobsen, Nurbekyan and Oberman, 2020, arXiv:2002.02798, equation 8.

    Attributes:
        kinetic: ∫ |v|² dt along the way, with v the velocity.
        jacobian: ∫ |∂v/∂x|² dt, the sum of squared entries, estimated where the divergence is.
    """

    kinetic: Array
    jacobian: Array


class Transport(NamedTuple):
    """One event carried to the other side, and what is known of its way.

    Attributes:
        value: the event at the other side, `event_shape`.
        log_det: log |det ∂value/∂start|, a scalar in nats.
        energies: of the way; None unless asked for.
        num_evaluations: of the velocity.
        succeeded: whether the solve reached its end. If not, value, log_det and energies are NaN.
    """

    value: Array
    log_det: Array
    energies: Energies | None
    num_evaluations: Array
    succeeded: Array


class ContinuousFlow(AbstractBijector):
    """The map from x(0) to x(1) along dx/dt = v(t, x): any smooth network is invertible.

        log |det ∂x(1)/∂x(0)| = ∫₀¹ tr(∂v/∂x) dt

    Both directions solve the same equation, one backwards in time, so a round trip is as good as
    the solver's tolerances. With `key=None` the trace is exact, whatever `divergence` says; a key,
    as in training, draws the probes of one solve. An event whose solve fails or needs too many
    steps is NaN.

    Neural ODEs: Chen, Rubanova, Bettencourt and Duvenaud, 2018, arXiv:1806.07366, theorem 1.
    FFJORD: Grathwohl, Chen, Bettencourt, Sutskever and Duvenaud, 2019, arXiv:1810.01367.
    """

    def __init__(
        self,
        dynamics: AbstractDynamics,
        *,
        divergence: AbstractDivergence = _EXACT,
        solver: Solver = _DEFAULT_SOLVER,
    ) -> None:
        """Integrate a velocity from time 0 to time 1.

        Args:
            dynamics: the velocity.
            divergence: how its divergence is found where a key is given.
            solver: method, tolerances and adjoint.

        Raises:
            ValueError: the dynamics return another shape than their event shape.
        """
        self.dynamics = dynamics
        self.divergence = divergence
        self.solver = solver
        self.event_shape = dynamics.event_shape
        self.condition_shape = dynamics.condition_shape
        self._check_shape()

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return self.transport(x, condition, key)[:2]

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return self.transport(y, condition, key, inverse=True)[:2]

    def forward(self, x: Array, condition: Array | None = None) -> Array:
        return self._move(x, condition, LATENT, DATA)

    def inverse(self, y: Array, condition: Array | None = None) -> Array:
        return self._move(y, condition, DATA, LATENT)

    def transport(
        self,
        x: Array,
        condition: Array | None = None,
        key: Array | None = None,
        *,
        inverse: bool = False,
        energies: bool = False,
    ) -> Transport:
        """Carry one event to the other side.

        Args:
            x: one event, `event_shape`; on the latent side unless `inverse`.
            condition: one condition, `condition_shape`.
            key: draws the probes of the divergence; None asks for the exact trace.
            inverse: from the data side to the latent side.
            energies: integrate `Energies` too.
        """
        x = check_event(x, self.event_shape, "x")
        condition = check_condition(condition, self.condition_shape)
        divergence = Exact() if key is None else self.divergence
        key = jax.random.key(0) if key is None else key  # exact: it draws nothing
        probes = divergence.probes(key, x.size, x.dtype)
        sign = -1 if inverse else 1  # integrals of squares grow along the way, whatever its sense

        def field(time: Array, state: tuple[Array, ...], args: tuple) -> tuple[Array, ...]:
            dynamics, condition, probes = args
            flux = divergence.evaluate(lambda x: dynamics(time, x, condition), state[0], probes)
            squares = (jnp.sum(flux.velocity**2), flux.squared_norm) if energies else ()
            return flux.velocity, flux.divergence, *(sign * square for square in squares)

        start = (x, *jnp.zeros(3 if energies else 1, x.dtype))
        args = (self.dynamics, condition, probes)
        times = (DATA, LATENT) if inverse else (LATENT, DATA)
        state, num_evaluations, succeeded = self.solver.solve(field, start, args, *times)
        value, log_det, *squares = (jnp.where(succeeded, end, jnp.nan) for end in state)
        found = Energies(*squares) if energies else None
        return Transport(value, log_det, found, num_evaluations, succeeded)

    def flow_map(
        self, x: Array, start: Array | float, stop: Array | float, condition: Array | None = None
    ) -> Array:
        """Where an event that is at x at one time is at another: F(stop) after F(start)⁻¹.

        Of a velocity that does not depend on the time, it depends on stop - start alone.

        Args:
            x: the event at the first time, `event_shape`.
            start: the first time, a scalar; 0 at the latent side. Times are not differentiated.
            stop: the other time, before or after it; 1 at the data side.
            condition: one condition, `condition_shape`.

        Returns:
            The event at the other time, `event_shape`; NaN where the solve failed.
        """
        return self._move(x, condition, start, stop)

    def trajectory(self, x: Array, times: Array, condition: Array | None = None) -> Array:
        """Where one event is at some times; without log-determinant, so cheaper than `transport`.

        Args:
            x: the event at times[0], `event_shape`.
            times: (number,), in any order, from 0 at the latent side to 1 at the data side; not
                differentiated.
            condition: one condition, `condition_shape`.

        Returns:
            (number, *event_shape), the first of them x. NaN from where a solve failed.
        """
        x = check_event(x, self.event_shape, "x")
        times = check_float(times, "times").astype(x.dtype)

        def go_on(x: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            x = self._move(x, condition, *ends)
            return x, x

        _, path = lax.scan(go_on, x, (times[:-1], times[1:]))
        return jnp.concatenate([x[None], path])

    def _move(
        self, x: Array, condition: Array | None, start: Array | float, stop: Array | float
    ) -> Array:
        x = check_event(x, self.event_shape, "x")
        condition = check_condition(condition, self.condition_shape)

        def field(time: Array, x: Array, args: tuple) -> Array:
            dynamics, condition = args
            return dynamics(time, x, condition)

        solution = self.solver.solve(field, x, (self.dynamics, condition), start, stop)
        return jnp.where(solution.succeeded, solution.state, jnp.nan)

    def _check_shape(self) -> None:
        time, x = jnp.zeros(()), jnp.zeros(self.event_shape)
        condition = None if self.condition_shape is None else jnp.zeros(self.condition_shape)
        shape = jax.eval_shape(self.dynamics, time, x, condition).shape
        if shape != self.event_shape:
            raise ValueError(
                f"the dynamics return shape {shape} for an event of shape {self.event_shape}; a "
                f"velocity has the shape of the event: set the last layer's width to its size"
            )
