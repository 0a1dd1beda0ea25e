"""What belongs in the unknown part of an event, given the rest of it."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from flowjax_lite.core.checks import (
    as_key,
    check_batch,
    check_condition_batch,
    check_levels,
    check_positive_int,
)
from flowjax_lite.core.recipe import known_numbers
from flowjax_lite.distributions import Dequantized, Flow, FlowMixture
from flowjax_lite.distributions.flow import aligned_rows, at_least_default, batch_shape
from flowjax_lite.numerics.random import normal, uniform

_ACCEPTANCE = 0.574  # the best rate of Langevin steps in many dimensions (Roberts, Rosenthal 1998)
_DECAY = 0.6  # of the rate at which steps adapt, with the number of steps made
_DELAY = 10.0  # in steps; without it the first step would forget where the chain began


def inpaint(
    model: Flow | FlowMixture | Dequantized,
    x: ArrayLike,
    known: ArrayLike,
    key: Array | int,
    *,
    condition: ArrayLike | None = None,
    num_steps: int = 1000,
) -> Array:
    """Samples of the unknown entries of events given their known ones.

    A chain of Langevin steps for each event, accepted by Metropolis' rule, begins at a sample of
    the flow with the known entries put in. During the first half of the steps their size adapts to
    the rate of acceptance, and to the gradients of each entry; the end of the chain is returned.
    Where the unknown part has several modes, a chain may stay in the one that it begins near: look
    at several samples for each event, and at those of more steps.

    For a `Dequantized`, x and the result are whole levels: known ones have uniform noise within
    their level.

    Besag, 1994, and Roberts and Tweedie, 1996, doi:10.2307/3318418; its scales: Titsias, 2023,
    arXiv:2305.14442, of which the diagonal is used.

    Args:
        model: a flow, a mixture of flows, or a `Dequantized`.
        x: (..., *event_shape); unknown entries may hold anything, such as NaN.
        known: (..., *event_shape), true where x is to be kept; broadcasts against x.
        key: randomness, or a seed.
        condition: (..., *condition_shape); its leading axes broadcast against those of x.
        num_steps: number of steps of each chain, at least 2; a step takes one gradient.

    Returns:
        (..., *event_shape), equal to x where it is known. For several samples of an event, repeat
        it along a leading axis.

    Raises:
        TypeError: the model is none of these; known is not boolean; or as `Flow.log_prob`.
        ValueError: known has another shape, or all is known; num_steps is below 2; or as
            `Flow.log_prob`.

    Example:
        >>> import jax.numpy as jnp, flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> x, known = jnp.array([1.5, jnp.nan]), jnp.array([True, False])
        >>> many = fl.inference.inpaint(flow, jnp.tile(x, (100, 1)), known, 0, num_steps=50)
    """
    if not isinstance(model, Flow | FlowMixture | Dequantized):
        raise TypeError(
            f"model is a {type(model).__name__}; expected a Flow, a FlowMixture or a Dequantized"
        )
    check_positive_int(num_steps, "num_steps", minimum=2)
    shape, condition_shape = model.event_shape, model.condition_shape
    if isinstance(model, Dequantized):
        x = jnp.asarray(check_levels(x, shape, model.num_levels, "x"))
    else:
        x = at_least_default(check_batch(x, shape, "x"))
    known = _check_known(known, shape)
    condition = check_condition_batch(condition, condition_shape)
    batch = batch_shape(x, shape, condition, condition_shape)
    if known.ndim > len(shape):
        batch = jnp.broadcast_shapes(batch, known.shape[: known.ndim - len(shape)])
    rows = (aligned_rows(array, batch, shape) for array in (x, known))
    conditions = aligned_rows(condition, batch, condition_shape)
    filled: Array = _inpaint(model, *rows, conditions, as_key(key), num_steps=num_steps)
    return filled.reshape(*batch, *shape)


def _check_known(known: ArrayLike, event_shape: tuple[int, ...]) -> Array:
    array = jnp.asarray(known)
    if array.dtype != bool:
        raise TypeError(
            f"known has dtype {array.dtype}; expected booleans, true where an entry is to be kept"
        )
    if array.shape[max(array.ndim - len(event_shape), 0) :] != event_shape:
        axes = ", ".join(["...", *map(str, event_shape)])
        raise ValueError(f"known has shape {array.shape}; expected ({axes}), as x")
    values = known_numbers(array)
    if values is not None and values.all():
        raise ValueError("known is true everywhere, so there is nothing to fill in")
    return array


@functools.partial(jax.jit, static_argnames="num_steps")
def _inpaint(
    model: Flow | FlowMixture | Dequantized,
    x: Array,
    known: Array,
    conditions: Array | None,
    key: Array,
    *,
    num_steps: int,
) -> Array:
    if isinstance(model, Dequantized):
        of_noise, key = jax.random.split(key)
        u = uniform(of_noise, x.shape)
        y = _inpaint(model.flow, x + u, known, conditions, key, num_steps=num_steps)
        return jnp.where(known, x, model.quantized(y).astype(x.dtype))

    def of_one(x: Array, known: Array, condition: Array | None, key: Array) -> Array:
        of_start, key = jax.random.split(key)
        start = jnp.where(known, x, model.sample(of_start, (), condition))
        return _last_of_chain(lambda x: model.log_prob(x, condition), start, ~known, key, num_steps)

    return jax.vmap(of_one)(x, known, conditions, jax.random.split(key, len(x)))


class _State(NamedTuple):
    x: Array
    log_p: Array
    gradient: Array
    log_size: Array  # logarithm of the step, in units of the scales
    power: Array  # running mean of the gradients' squares


def _last_of_chain(
    log_density: Callable[[Array], Array],
    start: Array,
    moves: Array,
    key: Array,
    num_steps: int,
) -> Array:
    """The end of a chain of Langevin steps of the entries that move."""
    density = jax.value_and_grad(log_density)

    def evaluate(x: Array) -> tuple[Array, Array]:
        log_p, gradient = density(x)
        return jnp.where(jnp.isnan(log_p), -jnp.inf, log_p), jnp.where(moves, gradient, 0.0)

    def step(state: _State, inputs: tuple[Array, Array]) -> tuple[_State, None]:
        number, key = inputs
        of_noise, of_choice = jax.random.split(key)
        scale = jnp.exp(state.log_size) / jnp.sqrt(state.power)
        noise = jnp.where(moves, normal(of_noise, start.shape, start.dtype), 0.0)
        x = state.x + scale**2 / 2 * state.gradient + scale * noise
        log_p, gradient = evaluate(x)
        # The noise that would lead back, up to its sign, beside that which led here.
        back = noise + scale / 2 * (state.gradient + gradient)
        log_ratio = log_p - state.log_p + (jnp.sum(noise**2) - jnp.sum(back**2)) / 2
        rate = jnp.where(jnp.isnan(log_ratio), 0.0, jnp.exp(jnp.minimum(log_ratio, 0.0)))
        is_accepted = jax.random.uniform(of_choice, (), start.dtype) < rate
        x = jnp.where(is_accepted, x, state.x)
        log_p = jnp.where(is_accepted, log_p, state.log_p)
        gradient = jnp.where(is_accepted, gradient, state.gradient)
        # A chain is one of Metropolis only while its steps do not adapt.
        pace = jnp.where(number < num_steps // 2, (number + _DELAY) ** -_DECAY, 0.0)
        log_size = state.log_size + pace * (rate - _ACCEPTANCE)
        power = state.power + pace * (jnp.square(gradient) - state.power)
        return _State(x, log_p, gradient, log_size, power), None

    log_p, gradient = evaluate(start)
    mean = jnp.sum(jnp.square(gradient)) / jnp.sum(moves)
    power = jnp.broadcast_to(jnp.where(mean > 0, mean, 1.0), start.shape)
    first = _State(start, log_p, gradient, jnp.zeros_like(log_p), power)
    keys = jax.random.split(key, num_steps)
    last, _ = lax.scan(step, first, (jnp.arange(num_steps), keys))
    return last.x
