"""The normal distribution function in logarithms against scipy and a continued fraction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from flowjax_lite.numerics.normal import log_ndtr_and_slope

# Both sides of where the asymptotic series begins, about -11 in float32 and -30 in float64.
VALUES = np.concatenate([-np.logspace(8, -8, 321), [0.0], np.logspace(-8, 8, 321)])


def excess_below_zero(x: np.ndarray) -> np.ndarray:
    """x + φ(x) / Φ(x) for x <= -2, by Laplace's continued fraction."""
    result = np.zeros_like(x)
    for k in range(300, 0, -1):
        result = k / (-x + result)
    return result


def test_values_and_slopes(dtype: np.dtype):
    """Catches tails that under- or overflow, a series used too early, and lost digits."""
    x = jnp.asarray(VALUES[VALUES < 12], dtype)
    exact = np.asarray(x, np.float64)
    results = jax.jit(log_ndtr_and_slope)(x)
    slope = np.sqrt(2 / np.pi) / special.erfcx(-exact / np.sqrt(2))
    # Above zero both are tiny exponentials, whose exponent of x² / 2 costs as many roundings.
    rounding = 8 * jnp.finfo(dtype).eps * np.maximum(1.0, np.maximum(exact, 0.0) ** 2)
    for result, expected in zip(results, (special.log_ndtr(exact), slope), strict=True):
        assert np.all(np.abs(result - expected) <= rounding * np.abs(expected))


def test_far_above_zero(dtype: np.dtype):
    """Catches NaN where the upper tail underflows."""
    for result in jax.jit(log_ndtr_and_slope)(jnp.asarray(VALUES[VALUES > 12], dtype)):
        np.testing.assert_allclose(result, 0.0, atol=1e-30)


@pytest.mark.parametrize("derivative", [jax.grad, lambda f: lambda x: jax.jvp(f, (x,), (1.0,))[1]])
def test_derivatives(derivative: object, dtype: np.dtype):
    """Catches a second derivative that cancels far below zero, where it is near -1."""
    x = jnp.asarray(VALUES[VALUES < -2], dtype)
    exact = np.asarray(x, np.float64)
    slope = log_ndtr_and_slope(x)[1]
    by_value, by_slope = (
        jax.jit(jax.vmap(derivative(lambda x, i=i: log_ndtr_and_slope(x)[i])))(x) for i in (0, 1)
    )
    np.testing.assert_allclose(by_value, slope, rtol=4 * jnp.finfo(dtype).eps)
    excess = excess_below_zero(exact)
    expected = -(excess - exact) * excess
    # Before the series begins, x + slope loses digits as x² grows.
    np.testing.assert_allclose(by_slope, expected, rtol=1e4 * jnp.finfo(dtype).eps)
