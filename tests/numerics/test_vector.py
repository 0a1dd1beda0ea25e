"""Lengths of vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flowjax_lite.numerics.vector import norm

X = np.array([0.3, -1.2, 0.4])


@pytest.mark.parametrize("scale", [1e-15, 1e-3, 1.0, 1e30])
def test_norm(dtype: np.dtype, scale: float):
    """Catches squares that under- or overflow, in values or gradients."""
    x = jnp.asarray(scale * X, dtype)
    np.testing.assert_allclose(norm(x), scale * np.linalg.norm(X), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(norm)(x), X / np.linalg.norm(X), rtol=1e-5)


def test_second_derivatives(x64: None):
    """Catches a size held constant where that is wrong."""
    x = jnp.asarray(X)
    unit = X / np.linalg.norm(X)
    expected = (np.eye(3) - np.outer(unit, unit)) / np.linalg.norm(X)
    np.testing.assert_allclose(jax.hessian(norm)(x), expected, atol=1e-14)


def test_zero(dtype: np.dtype):
    """Catches NaN at zero."""
    zero = jnp.zeros(3, dtype)
    assert norm(zero) == 0
    np.testing.assert_array_equal(jax.grad(norm)(zero), zero)
