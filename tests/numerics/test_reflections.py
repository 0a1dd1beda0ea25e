"""Products of reflections: their order, and vectors of any length."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.numerics.reflections import reflect

X = np.array([0.3, -1.0, 2.0, 0.7])


def test_against_matrices(x64: None):
    """Catches vectors in the wrong order, and one whose length matters."""
    vectors = np.random.default_rng(0).normal(size=(3, 4)) * [[1e-12], [1.0], [1e12]]
    expected = X
    for v in vectors:
        expected = (np.eye(4) - 2 * np.outer(v, v) / (v @ v)) @ expected
    np.testing.assert_allclose(reflect(jnp.asarray(vectors), jnp.asarray(X)), expected, rtol=1e-12)
    back = reflect(jnp.asarray(vectors), jnp.asarray(expected), transpose=True)
    np.testing.assert_allclose(back, X, rtol=1e-12)


def test_vectors_of_any_length():
    """Catches 0 / 0 and squares that under- or overflow: results and gradients stay finite."""
    x = jnp.array([1.0, 2.0, 3.0])

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def score(vectors: Array, x: Array) -> tuple[Array, Array]:
        y = reflect(vectors, x)
        return jnp.sum(jnp.sin(y)), y

    for size in (0.0, 1e-45, 1e-30, 1e-15, 1e15, 1e30):
        (_, y), gradients = score(jnp.full((1, 3), size), x)
        np.testing.assert_allclose(y, x if size < 1e-20 else x - 4.0, rtol=1e-6)
        assert all(jnp.all(jnp.isfinite(gradient)) for gradient in gradients), size
    (_, y), _ = score(jnp.array([[jnp.nan, 1.0, 1.0]]), x)
    assert jnp.all(jnp.isnan(y))
