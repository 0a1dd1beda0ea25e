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
        ends: the time at the end of each step, as far as the solver was asked to keep them.
        number: of accepted steps.
        num_tried: of all steps.
        succeeded: whether the last of them reached the end.
    """

    ends: Array
    number: Array
    num_tried: Array
    succeeded: Array


class Method(NamedTuple):
    """A solver, as far as a derivative needs to know it.

    Attributes:
        run: takes (field, state, args, times), and `every_step`: whether to return the states
            after all steps, on a leading axis of length `most_steps`, or that at the end alone.
            It also returns the `Steps`.
        tableau: the coefficients.
        most_steps: the number of steps after which a solve ends.
    """

    run: Callable[..., tuple[Any, Steps]]
    tableau: Tableau
    most_steps: int


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
    last = jnp.maximum(steps.number - 1, 0)
    end = (
        jax.tree.map(lambda saved: saved[last], states),
        steps._replace(ends=steps.ends[last][None]),
    )
    pushed, _ = _push(method, field, primals, tangents, states, steps)
    return end, (pushed, _constant(end[1]))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def every_step(
    method: Method, field: VectorField, state: Any, args: Any, times: tuple[Array, Array]
) -> tuple[Any, Steps]:
    """The states after all steps, which second derivatives differentiate again."""
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
    """The tangents after the last step, and after every step."""
    state, args, (start, _) = primals
    tangent, of_args, _ = tangents
    # A solve that failed takes no step here: its states may not be finite.
    number = jnp.where(steps.succeeded, steps.number, 0)
    bound, tableau = _most(number), method.tableau

    def step(tangent: Any, of_args: Any, index: Array) -> Any:
        def before(first: Array, saved: Array) -> Array:
            kept = lax.dynamic_index_in_dim(saved, jnp.maximum(index - 1, 0), keepdims=False)
            return jnp.where((index > 0) & (index < number), kept, first)

        time = before(start, steps.ends)
        end = lax.dynamic_index_in_dim(steps.ends, index, keepdims=False)
        size = jnp.where(index < number, end - time, 0.0)  # the events that have ended wait

        def advance(state: Any, args: Any) -> Any:
            return tableau.step(field, time, size, state, args)

        return jax.jvp(advance, (jax.tree.map(before, state, states), args), (tangent, of_args))[1]

    # Nothing but the index is kept of what a backward pass can find again.
    @jax.checkpoint
    def one(tangent: Any, index: Array) -> tuple[Any, Any]:
        tangent = lax.cond(index < bound, lambda: step(tangent, of_args, index), lambda: tangent)
        return tangent, tangent

    @jax.checkpoint
    def chunk(tangent: Any, indices: Array) -> tuple[Any, Any]:
        def skip() -> tuple[Any, Any]:
            return tangent, jax.tree.map(lambda t: jnp.broadcast_to(t, (CHUNK, *t.shape)), tangent)

        return lax.cond(indices[0] < bound, lambda: lax.scan(one, tangent, indices), skip)

    num_chunks = -(-method.most_steps // CHUNK)
    indices = jnp.arange(num_chunks * CHUNK).reshape(num_chunks, CHUNK)
    tangent, pushed = lax.scan(chunk, tangent, indices)
    return tangent, jax.tree.map(lambda t: t.reshape(-1, *t.shape[2:])[: method.most_steps], pushed)


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
