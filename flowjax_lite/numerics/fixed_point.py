"""Fixed points of triangular maps and of contractions, differentiable by the implicit theorem."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

Function = Callable[[Array], Array]

_MAX_ROUNDS = 10_000
_PATIENCE = 10
_ROUNDING = 8  # units in the last place


def triangular_fixed_point(function: Function, start: Array) -> Array:
    """Solve x = function(x) where entry i of the result depends on x[:i] alone.

    All entries are computed at once, again and again: after k rounds the first k rows are known,
    so that as many rounds as there are rows always suffice. They end when nothing moves by more
    than rounding, which is long before where entries depend on each other weakly. Derivatives of
    any order and in any mode follow from the implicit function theorem, by rounds of the same kind.

    Jacobi iteration for autoregressive models: Song, Meng, Liao and Ermon, 2021,
    arXiv:2002.03629.

    Args:
        function: from an array to one of its shape, entry by entry or row by row. It may close
            over traced values; gradients reach them.
        start: (rows, ...), the first guess; it does not affect the result.

    Returns:
        (rows, ...), the fixed point: each entry is that of its row to a few units in the last
        place.
    """
    return _fixed_point(function, start, _repeat)


def contraction_fixed_point(function: Function, start: Array) -> Array:
    """Solve x = function(x) where the function brings any two points nearer to each other.

    Near is meant in the Euclidean distance. The function is applied again and again until
    rounding alone moves the result. Derivatives of any order and in any mode follow from the
    implicit function theorem, by rounds of the same kind.

    Args:
        function: from a vector to a vector, with a Lipschitz constant below one. It may close
            over traced values; gradients reach them.
        start: (dim,), the first guess, of the size of the numbers at stake; it does not affect
            the result.

    Returns:
        (dim,), the fixed point, or NaN where the last round still moved more than the last
        third of the dtype's digits.
    """
    return _fixed_point(function, start, _contract)


def _fixed_point(
    function: Function, start: Array, iterate: Callable[[Function, Array], Array]
) -> Array:
    def solve_linear(linear: Function, y: Array) -> Array:
        # linear(v) = J v - v with the Jacobian J, so v = J v - y = v + linear(v) - y.
        def solve(linear: Function, y: Array) -> Array:
            return iterate(lambda v: v + linear(v) - y, jnp.zeros_like(y))

        return lax.custom_linear_solve(linear, y, solve, transpose_solve=solve)

    return lax.custom_root(
        lambda x: function(x) - x,
        lax.stop_gradient(start),
        lambda _, start: iterate(function, start),
        solve_linear,
    )


def _repeat(function: Function, x: Array) -> Array:
    def unfinished(carry: tuple[Array, Array, Array]) -> Array:
        x, before, count = carry
        return (count < len(x)) & jnp.any(x != before)

    def improve(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, _, count = carry
        # An entry that only rounding moves stays where it is. Otherwise it would move all those
        # after it, and the last one would come to rest in the last round of all.
        new_x = function(x)
        rests = jnp.abs(new_x - x) <= _ROUNDING * jnp.finfo(x.dtype).eps * jnp.abs(x)
        return jnp.where(rests, x, new_x), x, count + 1

    return lax.while_loop(unfinished, improve, (function(x), x, jnp.asarray(1)))[0]


def _contract(function: Function, start: Array) -> Array:
    info = jnp.finfo(start.dtype)
    eps = info.eps

    def size(x: Array) -> Array:
        # The largest entry of a step may grow for many rounds while the step turns and shrinks.
        # Squares must not overflow, nor the unit's reciprocal, which XLA may multiply by, vanish.
        unit = jnp.clip(jnp.max(jnp.abs(x)), info.tiny, 0.01 * info.max)
        return unit * jnp.sqrt(jnp.mean((x / unit) ** 2))

    def unfinished(carry: tuple[Array, ...]) -> Array:
        x, step, _, idle, count = carry
        moves = step > eps * jnp.maximum(size(x), size(start))  # False for NaN
        return moves & (idle < _PATIENCE) & (count < _MAX_ROUNDS)

    def improve(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        x, _, smallest, idle, count = carry
        new_x = function(x)
        step = size(new_x - x)
        # Steps shrink round by round, until rounding keeps them from it.
        idle = jnp.where(step < smallest, 0, idle + 1)
        return new_x, step, jnp.minimum(step, smallest), idle, count + 1

    first = function(start)
    step = size(first - start)
    carry: tuple[Array, ...] = (first, step, step, jnp.asarray(0), jnp.asarray(0))
    x, step, *_ = lax.while_loop(unfinished, improve, carry)
    # Where each round nearly mirrors the error, rounding keeps up a step of eps / (1 - constant).
    reached = step <= eps ** (2 / 3) * jnp.maximum(size(x), size(start))
    return jnp.where(reached, x, jnp.nan)
