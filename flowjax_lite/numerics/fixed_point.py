"""Fixed points of maps whose entries depend on the entries before them alone."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax


def triangular_fixed_point(function: Callable[[Array], Array], start: Array) -> Array:
    """Solve x = function(x) where entry i of the result depends on x[:i] alone.

    All entries are computed at once, again and again: after k rounds the first k are exact, so
    that as many rounds as there are entries always suffice. They end when nothing changes any
    more, which is long before where entries depend on each other weakly. Derivatives of any
    order and in any mode follow from the implicit function theorem, by rounds of the same kind.

    Jacobi iteration for autoregressive models: Song, Meng, Liao and Ermon, 2021,
    arXiv:2002.03629.

    Args:
        function: from a vector to a vector. It may close over traced values; gradients reach
            them.
        start: (dim,), the first guess; it does not affect the result.

    Returns:
        (dim,), the fixed point, to the last bit.
    """

    def solve_linear(linear: Callable[[Array], Array], y: Array) -> Array:
        # linear(v) = J v - v with J strictly triangular, so v = J v - y = v + linear(v) - y.
        def solve(linear: Callable[[Array], Array], y: Array) -> Array:
            return _iterate(lambda v: v + linear(v) - y, jnp.zeros_like(y))

        return lax.custom_linear_solve(linear, y, solve, transpose_solve=solve)

    return lax.custom_root(
        lambda x: function(x) - x,
        lax.stop_gradient(start),
        lambda _, start: _iterate(function, start),
        solve_linear,
    )


def _iterate(function: Callable[[Array], Array], x: Array) -> Array:
    def unfinished(carry: tuple[Array, Array, Array]) -> Array:
        x, before, count = carry
        return (count < x.size) & jnp.any(x != before)

    def improve(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, _, count = carry
        return function(x), x, count + 1

    return lax.while_loop(unfinished, improve, (function(x), x, jnp.asarray(1)))[0]
