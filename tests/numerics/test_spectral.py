"""Bounds of spectral norms: never below the norm, hardly above it, with gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from flowjax_lite.numerics.spectral import spectral_norm_bound

RNG = np.random.default_rng(0)
Q = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
MATRICES = {
    "wide": RNG.normal(size=(4, 9)),
    "tall": RNG.normal(size=(9, 4)),
    "square": RNG.normal(size=(6, 6)),
    "low rank": RNG.normal(size=(6, 2)) @ RNG.normal(size=(2, 6)),
    "rank one": np.outer(RNG.normal(size=6), RNG.normal(size=6)),
    "orthogonal": Q,
    "decaying": Q * np.geomspace(1, 1e-6, 6)[None],
    "one number": np.array([[-3.0]]),
    "one row": RNG.normal(size=(1, 9)),
    "one entry": np.eye(6)[:, :1] * np.eye(6)[:1],
    "nearly of rank one": np.ones((6, 6)) + 1e-3 * RNG.normal(size=(6, 6)),
}
every_matrix = pytest.mark.parametrize("name", MATRICES)


@jax.jit
def bound_and_gradient(matrix: Array) -> tuple[Array, Array]:
    """The bound with six squarings, and its derivative."""
    return jax.value_and_grad(spectral_norm_bound)(matrix)


@every_matrix
def test_bounds_the_norm(dtype: np.dtype, name: str):
    """Catches an estimate from below, over- or underflow, a bound far above, few digits."""
    matrix = MATRICES[name]
    sides, digits = min(matrix.shape), 100 * jnp.finfo(dtype).eps
    for scale in (1e-30, 1.0, 1e30):
        scaled = jnp.asarray(scale * matrix, dtype)
        bound, _ = bound_and_gradient(scaled)
        assert bound.dtype == dtype
        ratio = float(bound) / np.linalg.norm(np.asarray(scaled, np.float64), 2)
        assert 1 - digits < ratio < sides ** (1 / 256) + digits


def test_more_squarings_come_closer(x64: None):
    """Catches an exponent that does not follow the number of squarings: n^(1/2^(k+2))."""
    for k in (0, 1, 3, 8):
        bound = spectral_norm_bound(jnp.asarray(Q), num_squarings=k)
        np.testing.assert_allclose(bound, 6 ** (0.5 ** (k + 2)), rtol=1e-12)


@every_matrix
def test_gradient(x64: None, name: str):
    """Catches a scale that is constant in the gradient but not in the bound, or the reverse."""
    matrix = jnp.asarray(MATRICES[name])
    direction = jnp.asarray(np.random.default_rng(1).normal(size=matrix.shape))
    bound, gradient = bound_and_gradient(matrix)
    step = 1e-6 * bound
    up, down = (bound_and_gradient(matrix + sign * step * direction)[0] for sign in (1, -1))
    np.testing.assert_allclose(jnp.sum(gradient * direction), (up - down) / (2 * step), rtol=1e-6)
    # The bound of a multiple is the multiple of the bound.
    np.testing.assert_allclose(jnp.sum(gradient * matrix), bound, rtol=1e-12)


@every_matrix
def test_gradient_does_not_depend_on_the_scale(dtype: np.dtype, name: str):
    """Catches derivatives that overflow, vanish or are NaN for large and small matrices."""
    matrix = jnp.asarray(MATRICES[name], dtype)
    _, expected = bound_and_gradient(matrix)
    for scale in (1e-30, 1e30):
        _, gradient = bound_and_gradient(scale * matrix)
        np.testing.assert_allclose(gradient, expected, atol=100 * jnp.finfo(dtype).eps)


def test_gradient_where_all_singular_values_are_equal(x64: None):
    """Catches the derivative of a singular vector, which is none where values are equal."""
    bound, gradient = bound_and_gradient(jnp.asarray(Q))
    np.testing.assert_allclose(gradient, bound / 6 * Q, atol=1e-14)


def test_zero(dtype: np.dtype):
    """Catches 0 / 0 in the bound or its gradient, alone and beside other matrices."""
    matrices = jnp.zeros((2, 3, 4), dtype).at[1, 0, 2].set(2.0)
    bounds, gradients = jax.vmap(bound_and_gradient)(matrices)
    np.testing.assert_allclose(bounds, [0.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(gradients, matrices / 2, rtol=1e-6)
