"""Scalar residual maps: slopes that stay positive, and roots."""

import jax
import jax.numpy as jnp
import numpy as np

from flowjax_lite.numerics.residual import (
    slope_factor,
    solve_residual_tanh,
    solve_triangular_residual_tanh,
    tanh_and_slope,
)

EVERYWHERE = np.concatenate([-np.logspace(30, -30, 61), [0.0], np.logspace(-30, 30, 61)])


def test_slopes_stay_positive(dtype: np.dtype):
    """Catches a constraint that rounding, overflow or a wrong sign breaks."""
    s = jnp.asarray(EVERYWHERE, dtype)
    bent = s * slope_factor(s)
    assert jnp.all(jnp.diff(bent) >= -4 * jnp.finfo(dtype).eps * jnp.abs(bent[1:]))
    assert bent[0] >= -0.99 - 1e-6
    assert bent[-1] <= 100 * (1 + 1e-6)
    np.testing.assert_allclose(slope_factor(jnp.zeros((), dtype)), 1.0, rtol=1e-6)
    assert jnp.all(jnp.isfinite(jax.vmap(jax.grad(lambda s: s * slope_factor(s)))(s)))


def test_products_reach_all_that_is_allowed(x64: None):
    """Catches a factor that leaves out maps which contract, or stretch, a lot."""
    s = jnp.linspace(-1e3, 1e5, 1000)
    bent = s * slope_factor(s)
    assert bent[0] < -0.98
    assert bent[-1] > 90


def test_slope_of_tanh_is_not_cancelled(dtype: np.dtype):
    """Catches 1 - tanh², which loses all digits where tanh is near one."""
    a = jnp.asarray([-30.0, -8.0, -0.3, 0.0, 5.0, 20.0], dtype)
    expected = 1 / np.cosh(np.asarray(a, np.float64)) ** 2
    np.testing.assert_allclose(tanh_and_slope(a)[1], expected, rtol=50 * jnp.finfo(dtype).eps)
    assert jnp.all(tanh_and_slope(jnp.asarray([-1e30, 1e30], dtype))[1] == 0)


def test_roots(x64: None):
    """Catches a wrong order of substitution, or a root that is not one."""
    rng = np.random.default_rng(0)
    matrix = jnp.triu(jnp.asarray(rng.normal(size=(5, 5)), jnp.float64), 1)
    matrix += jnp.diag(jnp.asarray([-0.99, 100.0, 0.0, -0.5, 3.0]))
    target = jnp.asarray(5 * rng.normal(size=5))
    a = solve_triangular_residual_tanh(matrix, target)
    np.testing.assert_allclose(a + matrix @ jnp.tanh(a), target, atol=1e-12)
    one = solve_residual_tanh(matrix[4, 4], target[4])
    np.testing.assert_allclose(one, a[4], rtol=1e-14)


def test_no_root_is_nan():
    """Catches a number that is returned in the place of a root."""
    a = solve_triangular_residual_tanh(jnp.eye(3), jnp.asarray([1.0, jnp.nan, 2.0]))
    np.testing.assert_array_equal(jnp.isfinite(a), [False, False, True])
