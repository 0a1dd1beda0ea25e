"""Roots of monotone functions: found, differentiable, or NaN."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from flowjax_lite.numerics import monotone_root

SIZES = np.concatenate([-np.logspace(6, -6, 25), [0.0], np.logspace(-6, 6, 25)])
# f is increasing and f(x) = f(root) is to be solved.
INCREASING: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: 3 * x,
    "cubic": lambda x: x + x**3,
    "logarithmic": jnp.arcsinh,
    "wavy": lambda x: x + 0.99 * jnp.sin(x),
    "kinked": lambda x: jnp.where(x < 0, 1e-3 * x, x),
}


@pytest.mark.parametrize("name", INCREASING)
def test_root_is_found(name: str, dtype: np.dtype):
    """Catches a bracket that is too small, and a stop before the dtype's precision."""
    function = INCREASING[name]
    expected = jnp.asarray(np.tile(SIZES, 2), dtype)
    guess = jnp.asarray(np.repeat([0.0, -30.0], len(SIZES)), dtype)
    target = function(expected)
    root = monotone_root(lambda x: function(x) - target, guess)
    slope = jax.vmap(jax.grad(function))(expected)
    # The function itself is known to a few roundings of its value.
    unavoidable = jnp.finfo(dtype).eps * (jnp.abs(expected) + jnp.abs(target) / slope)
    assert jnp.all(jnp.abs(root - expected) <= 8 * unavoidable + jnp.finfo(dtype).tiny)


@pytest.mark.parametrize("guess", [0.3, 1.0, 1e6])
def test_root_where_the_slope_vanishes(guess: float, dtype: np.dtype):
    """Catches a stop that asks for relative precision of a root at zero."""
    root = monotone_root(lambda x: x**3, jnp.asarray(guess, dtype))
    assert jnp.abs(root) < 1e-4


def test_root_of_a_bounded_function(dtype: np.dtype):
    """Catches Newton steps that leave for infinity where the function saturates."""
    p = jnp.asarray([1e-6, 1e-3, 0.5, 0.9, 1 - 1e-3], dtype)
    root = monotone_root(lambda x: jax.nn.sigmoid(x) - p, jnp.zeros_like(p))
    expected = np.log(np.float64(p)) - np.log1p(-np.float64(p))
    np.testing.assert_allclose(root, expected, rtol=2e4 * jnp.finfo(dtype).eps, atol=1e-6)


def test_root_where_the_slope_overflows():
    """Catches a step of value / ∞ that passes for convergence."""
    root = monotone_root(lambda x: jnp.exp(20 * x) - 3.7, jnp.asarray(4.4), radius=5.0)
    np.testing.assert_allclose(root, np.log(3.7) / 20, rtol=1e-5)


def test_a_root_that_is_found_ends_the_search(dtype: np.dtype):
    """Catches dozens of bisections after a Newton step that was below rounding."""
    evaluations = []

    def function(x: Array) -> Array:
        jax.debug.callback(lambda: evaluations.append(1))
        return x + x**3 - target

    target = jnp.asarray(np.linspace(3.0, 9.0, 200), dtype)
    monotone_root(function, jnp.full_like(target, 1.5), radius=0.5)
    jax.effects_barrier()
    assert 4 < len(evaluations) < 20


def test_nan_where_there_is_no_root(dtype: np.dtype):
    """Catches a bracket's end returned as a root, and one lost element that spoils others."""
    target = jnp.asarray([0.5, 1.5, -0.2, -2.0, jnp.nan, 0.0], dtype)

    def solve(target: Array) -> Array:
        return monotone_root(lambda x: jnp.tanh(x) - target, jnp.zeros_like(target))

    lost = np.array([False, True, False, True, True, False])
    root = solve(target)
    np.testing.assert_array_equal(jnp.isnan(root), lost)
    exact = np.arctanh(np.where(lost, 0.0, target))[~lost]
    np.testing.assert_allclose(root[~lost], exact, rtol=16 * jnp.finfo(dtype).eps)
    gradient = jax.grad(lambda target: jnp.sum(solve(target)))(target)
    np.testing.assert_array_equal(jnp.isfinite(gradient), ~lost)


def solve_exponential(a: Array, b: Array) -> Array:
    """The root of exp(b x) = a, which is log(a) / b."""
    return monotone_root(lambda x: jnp.exp(b * x) - a, jnp.ones_like(a))


def closed_form(a: Array, b: Array) -> Array:
    """What `solve_exponential` finds."""
    return jnp.log(a) / b


@pytest.mark.parametrize(
    "derivative",
    [jax.grad, jax.jacfwd, jax.hessian, lambda f, argnums: jax.jacrev(jax.jacrev(f, 0), argnums)],
    ids=["grad", "jacfwd", "hessian", "reverse over reverse"],
)
def test_implicit_derivatives(derivative: Callable, x64: None):
    """Catches derivatives through the iteration, or with a missing term of second order."""
    point = jnp.array(3.7), jnp.array(0.4)
    actual = derivative(solve_exponential, argnums=(0, 1))(*point)
    expected = derivative(closed_form, argnums=(0, 1))(*point)
    chex.assert_trees_all_close(actual, expected, rtol=1e-11)


def test_jvp(x64: None):
    """Catches a tangent that leaves out one of the function's parameters."""
    point, tangent = (jnp.array(3.7), jnp.array(0.4)), (jnp.array(0.3), jnp.array(-1.1))
    actual, expected = (jax.jvp(f, point, tangent) for f in (solve_exponential, closed_form))
    np.testing.assert_allclose(actual, expected, rtol=1e-11)


def test_vmap_is_elementwise(x64: None):
    """Catches a loop that stops, or goes wrong, with the slowest element."""
    a, b = jnp.array([1e-6, 0.5, 3.0, 1e6]), jnp.array([0.1, 20.0, 1.0, 0.3])
    batched = jax.jit(jax.vmap(solve_exponential))(a, b)
    alone = [solve_exponential(*pair) for pair in zip(a, b, strict=True)]
    np.testing.assert_allclose(batched, alone, rtol=1e-14)
    np.testing.assert_allclose(batched, closed_form(a, b), rtol=1e-13)
    gradients = jax.vmap(jax.grad(solve_exponential))(a, b)
    np.testing.assert_allclose(gradients, 1 / (a * b), rtol=1e-11)


def test_the_guess_has_no_say(x64: None):
    """Catches a root, or a gradient, that depends on where the search starts."""

    def solve(guess: Array, radius: float) -> Array:
        return monotone_root(lambda x: x + jnp.exp(x) - 3.0, guess, radius=radius)

    roots = [solve(jnp.array(g), r) for g in (-1e4, 0.0, 0.7, 1e4) for r in (1e-3, 1.0, 1e3)]
    np.testing.assert_allclose(roots, roots[0], rtol=1e-15)
    assert jax.grad(solve)(jnp.array(0.7), 1.0) == 0
