"""Stable scalar functions against the same functions written plainly in float64."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from flowjax_lite.numerics import log_scale, sigmoid_log_derivative, soft_clip, softplus_inverse
from flowjax_lite.numerics.scalar import elementwise

EVERYWHERE = np.concatenate([-np.logspace(30, -30, 61), [0.0], np.logspace(-30, 30, 61)])
POSITIVE = np.logspace(-30, 30, 241)


def exact_softplus_inverse(y: np.ndarray) -> np.ndarray:
    """log(expm1(y)), split where the exponential would overflow."""
    small, large = np.minimum(y, 30), np.maximum(y, 30)
    return np.where(y < 30, np.log(np.expm1(small)), large + np.log1p(-np.exp(-large)))


def exact_sigmoid_log_derivative(x: np.ndarray) -> np.ndarray:
    """An even function, written for |x| alone."""
    return -np.abs(x) - 2 * np.log1p(np.exp(-np.abs(x)))


FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Callable, Callable, np.ndarray]] = {
    "soft_clip": (
        lambda x: soft_clip(x, 3.0),
        lambda x: 3 * np.tanh(x / 3),
        lambda x: 1 / np.cosh(np.clip(x / 3, -300, 300)) ** 2,
        EVERYWHERE,
    ),
    "log_scale": (
        lambda x: log_scale(x, 5.0),
        lambda x: 5 * np.tanh(x / 5),
        lambda x: 1 / np.cosh(np.clip(x / 5, -300, 300)) ** 2,
        EVERYWHERE,
    ),
    "softplus_inverse": (
        softplus_inverse,
        exact_softplus_inverse,
        lambda y: -1 / np.expm1(-y),
        POSITIVE,
    ),
    "sigmoid_log_derivative": (
        sigmoid_log_derivative,
        exact_sigmoid_log_derivative,
        lambda x: -np.tanh(x / 2),
        EVERYWHERE,
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_slopes(name: str, dtype: np.dtype):
    """Catches cancellation, overflow, and a wrong formula, over sixty orders of magnitude."""
    function, exact, slope, domain = FUNCTIONS[name]
    x = jnp.asarray(domain, dtype)
    exact_x = np.asarray(x, np.float64)
    tolerance = {"rtol": 8 * jnp.finfo(dtype).eps, "atol": 8 * jnp.finfo(dtype).eps}
    values, slopes = jax.vmap(jax.value_and_grad(function))(x)
    np.testing.assert_allclose(values, exact(exact_x), **tolerance)
    np.testing.assert_allclose(slopes, slope(exact_x), **tolerance)


def test_small_values_keep_their_digits(dtype: np.dtype):
    """Catches a clipped value near zero that is right absolutely and wrong relatively."""
    x = jnp.asarray([1e-30, -1e-20, 1e-8, 1e-3], dtype)
    expected = 3 * np.tanh(np.float64(x) / 3)
    np.testing.assert_allclose(soft_clip(x, 3.0), expected, rtol=4 * jnp.finfo(dtype).eps)


def test_limits(dtype: np.dtype):
    """Catches NaN at infinities and at the ends of the domain, and numbers beyond it."""
    infinite = jnp.asarray([-jnp.inf, jnp.inf], dtype)
    np.testing.assert_array_equal(soft_clip(infinite, 3.0), [-3.0, 3.0])
    np.testing.assert_array_equal(sigmoid_log_derivative(infinite), [-jnp.inf, -jnp.inf])
    edges = softplus_inverse(jnp.asarray([0.0, jnp.inf, -1.0], dtype))
    np.testing.assert_array_equal(edges, [-jnp.inf, jnp.inf, jnp.nan])
    for function in (lambda x: soft_clip(x, 3.0), sigmoid_log_derivative):
        assert jnp.all(jnp.isfinite(jax.vmap(jax.grad(function))(infinite)))


def test_softplus_inverse_inverts(dtype: np.dtype):
    """Catches an inverse of another function."""
    y = jnp.asarray(POSITIVE, dtype)
    rounding = 64 * jnp.finfo(dtype).eps  # the logarithm of 1e-30 is 69 in size
    np.testing.assert_allclose(jax.nn.softplus(softplus_inverse(y)), y, rtol=rounding)


def test_soft_clip_stays_within_its_bound(dtype: np.dtype):
    """Catches a bound that is exceeded by rounding, and a slope that is cut to zero early."""
    x = jnp.linspace(-30, 30, 1001, dtype=dtype)
    values, slopes = jax.vmap(jax.value_and_grad(lambda x: soft_clip(x, 2.0)))(x)
    assert jnp.all(jnp.abs(values) <= 2.0)
    assert jnp.all(jnp.diff(values) >= -4 * jnp.finfo(dtype).eps)
    assert jnp.all(slopes[jnp.abs(x) < 10] > 0)


@pytest.mark.parametrize("function", [jax.nn.silu, jnp.tanh, jnp.exp])
def test_elementwise_has_the_derivatives_of_its_function(
    function: Callable[[Array], Array], dtype: np.dtype
):
    """Catches a slope that is not the function's, in any mode, and second derivatives of zero."""
    x = jnp.linspace(-3.0, 3.0, 7, dtype=dtype)

    def applied(x: Array) -> Array:
        return elementwise(function, x)

    rtol = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_array_equal(applied(x), function(x))
    for derivative in (
        jax.grad,
        jax.jacfwd,
        lambda f: jax.grad(jax.grad(f)),
        lambda f: jax.jacfwd(jax.grad(f)),
    ):
        actual, expected = (jax.vmap(derivative(f))(x) for f in (applied, function))
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol)
