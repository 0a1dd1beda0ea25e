"""Roots of monotone functions, bracketed, differentiable, and NaN where not found."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

_MAX_EXPANSIONS = 120
_MAX_STEPS = 1000  # a triple root at zero takes hundreds; others about ten


def monotone_root(
    function: Callable[[Array], Array], guess: Array, *, radius: float = 1.0
) -> Array:
    """Solve function(x) = 0 elementwise for a strictly increasing function.

    The bracket around the guess doubles until the sign changes; then Newton steps are taken,
    replaced by bisection whenever they leave the bracket or shrink too slowly. Derivatives,
    of any order and in any mode, follow from the implicit function theorem.

    Args:
        function: elementwise and increasing, from an array of guess's shape to the same
            shape. It may close over traced values; gradients reach them.
        guess: where the search starts, any shape; its value does not affect the root.
        radius: half of the first bracket's width.

    Returns:
        The root to the precision of guess's dtype. An element whose root was not bracketed
        or not reached comes back as NaN, that element alone.
    """

    def solve(f: Callable[[Array], Array], start: Array) -> Array:
        return _newton_or_bisect(f, *_bracket(f, start, radius))

    def tangent_solve(linear: Callable[[Array], Array], y: Array) -> Array:
        return y / linear(jnp.ones_like(y))  # the Jacobian is diagonal

    return lax.custom_root(function, lax.stop_gradient(guess), solve, tangent_solve)


def _bracket(f: Callable[[Array], Array], start: Array, radius: float) -> tuple[Array, Array]:
    """Move both ends outwards, doubling, until f(low) <= 0 <= f(high).

    Every place that evaluates f adds to the program: both ends go together, and values are
    carried from step to step.

    Returns:
        The ends, and the values there, each stacked on axis 0.
    """

    def unfinished(carry: tuple[Array, ...]) -> Array:
        _, (f_low, f_high), _, count = carry
        return (count < _MAX_EXPANSIONS) & jnp.any((f_low > 0) | (f_high < 0))

    def expand(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        (low, high), (f_low, f_high), width, count = carry
        too_high, too_low = f_low > 0, f_high < 0
        # The end that was wrong bounds the root from the other side: the bracket slides.
        new_low = jnp.where(too_high, low - width, jnp.where(too_low, high, low))
        new_high = jnp.where(too_low, high + width, jnp.where(too_high, low, high))
        ends = jnp.stack([new_low, new_high])
        return ends, jax.vmap(f)(ends), 2 * width, count + 1

    step = jnp.full_like(start, radius)
    ends = jnp.stack([start - step, start + step])
    first: tuple[Array, ...] = (ends, jax.vmap(f)(ends), 2 * step, jnp.asarray(0))
    ends, values, *_ = lax.while_loop(unfinished, expand, first)
    return ends, values


def _newton_or_bisect(f: Callable[[Array], Array], ends: Array, values: Array) -> Array:
    tolerance = 2 * jnp.finfo(ends.dtype).eps
    tiny = jnp.finfo(ends.dtype).tiny
    low, high = ends
    bracketed = (values[0] <= 0) & (values[1] >= 0)

    def unfinished(carry: tuple[Array, ...]) -> Array:
        done, count = carry[-2:]
        return (count < _MAX_STEPS) & ~jnp.all(done)

    # Values are carried for another reason too: XLA may compute what it does not store once for
    # each use, rounded differently, and one use then says zero where another does not.
    def improve(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        low, high, x, value, slope, last_step, done, count = carry
        low = jnp.where(value <= 0, x, low)
        high = jnp.where(value >= 0, x, high)
        newton = x - value / slope
        # The ends belong to it: x is one of them, and a step below rounding is the last one.
        inside = (newton >= low) & (newton <= high) & jnp.isfinite(slope)
        safe = inside & (jnp.abs(newton - x) < 0.5 * last_step)
        new_x = jnp.where(value == 0, x, jnp.where(safe, newton, 0.5 * low + 0.5 * high))
        step = jnp.abs(new_x - x)
        reached = jnp.isfinite(value) & (step <= tolerance * jnp.abs(new_x) + tiny)
        x = jnp.where(done, x, new_x)
        value, slope = jax.jvp(f, (x,), (jnp.ones_like(x),))
        return low, high, x, value, slope, step, done | reached, count + 1

    # The slope at the lower end is not known: the first step is to the middle.
    unknown = jnp.full_like(low, jnp.inf)
    start: tuple[Array, ...] = (
        *(low, high, low, values[0], unknown),
        *(high - low, ~bracketed, jnp.asarray(0)),
    )
    _, _, x, *_, done, _ = lax.while_loop(unfinished, improve, start)
    return jnp.where(bracketed & done, x, jnp.nan)
