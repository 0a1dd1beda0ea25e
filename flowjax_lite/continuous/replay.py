"""The gradient of a solve, from the steps that it took.

The solver finds the steps; a derivative then takes the same steps again, with their sizes held
fixed, and each step linearised at the state that the solve had there. That is the derivative of
the numbers that the solver returns, with no error but rounding, and takes the steps of a whole
batch side by side.

It is written as a rule of forward mode, which JAX maps over a batch before it transposes it. A
product of a weight's gradient then sums over events, where a rule of reverse mode, as that of the
solver's own adjoints, makes one gradient of all weights for each event.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_batching import custom_vmap

VectorField: TypeAlias = Callable[[Array, Any, Any], Any]
CHUNK = 16  # steps that are skipped together where no event takes them


class Tableau(NamedTuple):
    """The coefficients of an explicit Runge-Kutta method, of the stages that its result uses.

    Attributes:
        stages: for each stage but the first, the weights of the slopes before it.
        weights: of all slopes in the result.
        nodes: the time of each stage, in units of the step.
        first_same_as_last: whether the solver finds one slope more, at the step's end, which is
            the first of the next step.
    """

    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    nodes: tuple[float, ...]
    first_same_as_last: bool

    @property
    def num_stages(self) -> int:
        """Evaluations for each step."""
        return len(self.weights)

    def step(self, field: VectorField, time: Array, size: Array, state: Any, args: Any) -> Any:
        """The state one step later."""
        slopes: list[Any] = []

        def moved(weights: tuple[float, ...]) -> Any:
            def move(value: Array, *slopes: Array) -> Array:
                terms = zip(weights, slopes, strict=True)
                return value + size * sum(weight * slope for weight, slope in terms if weight)

            return jax.tree.map(move, state, *slopes)

        for weights, node in zip(((), *self.stages), self.nodes, strict=True):
            slopes.append(field(time + node * size, moved(weights), args))
        return moved(self.weights)


class Steps(NamedTuple):
    """The steps that a solve took.

    Attributes:
        times: of the states that were asked for.
        number: of accepted steps.
        num_tried: of all steps.
        succeeded: whether the last of them reached the end.
    """

    times: Array
    number: Array
    num_tried: Array
    succeeded: Array


class Method(NamedTuple):
    """A solver, as far as a derivative needs to know it.

    Attributes:
        run: takes (field, state, args, times), and `every_step`: whether to return the first
            state and those after all steps that there may be, on a leading axis, or the state at
            the end alone. It also returns the `Steps`.
        tableau: the coefficients.
    """

    run: Callable[..., tuple[Any, Steps]]
    tableau: Tableau


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def end_of_steps(
    method: Method, field: VectorField, state: Any, args: Any, times: tuple[Array, Array]
) -> tuple[Any, Steps]:
    """The state at the end, with the derivative of the steps taken."""
    return method.run(field, state, args, times)


@end_of_steps.defjvp
def _push_end(
    method: Method, field: VectorField, primals: tuple, tangents: tuple
) -> tuple[Any, Any]:
    states, steps = every_step(method, field, *primals)
    last = steps.number
    end = (
        jax.tree.map(lambda saved: saved[last], states),
        steps._replace(times=steps.times[last][None]),
    )
    pushed, _ = _push(method, field, primals, tangents, states, steps)
    return end, (pushed, _constant(end[1]))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def every_step(
    method: Method, field: VectorField, state: Any, args: Any, times: tuple[Array, Array]
) -> tuple[Any, Steps]:
    """The states before and after all steps, which second derivatives differentiate again."""
    return method.run(field, state, args, times, every_step=True)


@every_step.defjvp
def _push_every(
    method: Method, field: VectorField, primals: tuple, tangents: tuple
) -> tuple[Any, Any]:
    states, steps = every_step(method, field, *primals)
    _, pushed = _push(method, field, primals, tangents, states, steps)
    return (states, steps), (pushed, _constant(steps))


def _push(
    method: Method,
    field: VectorField,
    primals: tuple,
    tangents: tuple,
    states: Any,
    steps: Steps,
) -> tuple[Any, Any]:
    """The tangents after the last step, and of all states."""
    first, args, _ = primals
    of_first, of_args, _ = tangents
    # A solve that failed takes no step here: its states may not be finite.
    number = jnp.where(steps.succeeded, steps.number, 0)
    most, bound = len(steps.times) - 1, _most(number)

    # Nothing is kept for a backward pass of what it can find again: neither by loops nor, for
    # steps that it skips, by a condition.
    @jax.checkpoint
    def step(tangent: Any, index: Array, state: Any, start: Array, stop: Array) -> Any:
        active = index < number  # the events that have ended wait
        size = jnp.where(active, stop - start, 0.0)
        start = jnp.where(active, start, 0.0)
        state = jax.tree.map(lambda saved, first: jnp.where(active, saved, first), state, first)

        def advance(state: Any, args: Any) -> Any:
            return method.tableau.step(field, start, size, state, args)

        return jax.jvp(advance, (state, args), (tangent, of_args))[1]

    @jax.checkpoint
    def one(tangent: Any, given: tuple) -> tuple[Any, Any]:
        tangent = lax.cond(given[0] < bound, lambda: step(tangent, *given), lambda: tangent)
        return tangent, tangent

    @jax.checkpoint
    def chunk(tangent: Any, begin: Array) -> tuple[Any, Any]:
        def take() -> tuple[Any, Any]:
            def cut(array: Array) -> Array:
                return lax.dynamic_slice_in_dim(array, begin, CHUNK)

            states, starts, stops = jax.tree.map(cut, given)
            return lax.scan(one, tangent, (begin + jnp.arange(CHUNK), states, starts, stops))

        def skip() -> tuple[Any, Any]:
            return tangent, jax.tree.map(lambda t: jnp.broadcast_to(t, (CHUNK, *t.shape)), tangent)

        return lax.cond(begin < bound, take, skip)

    def fill(array: Array) -> Array:
        """Up to the end of the last chunk."""
        return jnp.pad(array, [(0, -most % CHUNK), *[(0, 0)] * (array.ndim - 1)])

    def join(first: Array, chunks: Array) -> Array:
        return jnp.concatenate([first[None], chunks.reshape(-1, *first.shape)[:most]])

    given = jax.tree.map(fill, (states, steps.times, steps.times[1:]))
    last, pushed = lax.scan(chunk, of_first, jnp.arange(0, most, CHUNK))
    return last, jax.tree.map(join, of_first, pushed)


def _constant(steps: Steps) -> Steps:
    """The tangent of what is held fixed."""

    def zero(value: Array) -> Any:
        if jnp.issubdtype(value.dtype, jnp.inexact):
            return jnp.zeros_like(value)
        return np.zeros(value.shape, jax.dtypes.float0)

    return jax.tree.map(zero, steps)


@custom_vmap
def _most(number: Array) -> Array:
    """The largest number in the batch, which all events share: a bound on the steps to take."""
    return number


@_most.def_vmap
def _(size: int, mapped: list[bool], number: Array) -> tuple[Array, bool]:
    return _most(jnp.max(number)), False
