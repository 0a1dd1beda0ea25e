"""Stable scalar functions, elementwise on arrays of any shape."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def elementwise(function: Callable[[Array], Array], x: Array) -> Array:
    """Apply a smooth function, of which a gradient keeps one number for each entry, its slope.

    By the formulas of automatic differentiation it would keep several: up to four for each unit of
    a network, whose writing and reading takes a tenth to a quarter of a step.

    Args:
        function: elementwise.
        x: values of any shape.

    Returns:
        function(x), of x's shape.
    """
    return function(x)


@elementwise.defjvp
def _elementwise_jvp(
    function: Callable[[Array], Array], primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Any]:
    value, slope = jax.jvp(function, primals, (jnp.ones_like(primals[0]),))
    return value, slope * tangents[0]


def soft_clip(x: Array, bound: float) -> Array:
    """Bound x smoothly: the identity near zero, approaching ±bound far out.

    Networks emit logits and log-scales without limits; a hard clip would stop their
    gradient, and no clip would let `exp` overflow.

    Args:
        x: values of any shape.
        bound: the largest magnitude of the result, positive.

    Returns:
        bound * tanh(x / bound), of x's shape.
    """
    return elementwise(lambda x: bound * jnp.tanh(x / bound), x)


def log_scale(raw: Array, bound: float) -> Array:
    """Turn an unconstrained number into the logarithm of a scale that cannot overflow.

    Args:
        raw: values of any shape; 0 gives a scale of one.
        bound: the scale stays within [exp(-bound), exp(bound)].

    Returns:
        The log-scale, of raw's shape.
    """
    return soft_clip(raw, bound)


def softplus_inverse(y: Array) -> Array:
    """The x > -inf with log(1 + exp(x)) = y, without cancellation or overflow.

    Args:
        y: positive values of any shape.

    Returns:
        y + log(1 - exp(-y)); -inf at 0 and NaN below.
    """
    return y + jnp.log(-jnp.expm1(-y))


def sigmoid_log_derivative(x: Array) -> Array:
    """log of the derivative of the logistic function, finite for every finite x.

    Args:
        x: values of any shape.

    Returns:
        -softplus(x) - softplus(-x), of x's shape.
    """
    return -jax.nn.softplus(x) - jax.nn.softplus(-x)


def nearest_inside(
    x: Array, low: float | np.ndarray, high: float | np.ndarray
) -> tuple[Array, Array]:
    """Bring numbers into an open interval, and say which of them were outside.

    Args:
        x: values of any shape.
        low: lower end, which is outside; a number or an array that fits x. -inf is no end.
        high: upper end, which is outside; inf is no end.

    Returns:
        The nearest numbers strictly between the ends, and whether x was another number. NaN
        stays NaN and counts as inside.
    """
    low, high = (np.asarray(end, x.dtype) for end in (low, high))
    if np.all(np.isinf(low) & np.isinf(high)):
        return x, jnp.zeros_like(x, bool)
    first, last = _next(low, high), _next(high, low)
    below, above = x < first, x > last
    return jnp.where(below, first, jnp.where(above, last, x)), below | above


def _next(end: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The number next to an end; next to zero the least one that XLA does not take for zero."""
    tiny = np.copysign(np.finfo(end.dtype).tiny, other)
    inner = np.where(end == 0, tiny, np.nextafter(end, other))
    return np.where(np.isinf(end), end, inner)


def wrap_angle(x: Array) -> Array:
    """Bring angles to [-π, π) by full turns, exactly: those inside stay as they are.

    Args:
        x: angles of any shape, in radians.

    Returns:
        Angles of x's shape; NaN for infinite ones.
    """
    turn = 2 * math.pi
    rest = jnp.fmod(x, turn)
    return jnp.where(rest >= math.pi, rest - turn, jnp.where(rest < -math.pi, rest + turn, rest))
