"""Estimates of log |det(I + J)|: their means are exact, and so are their gradients' means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from flowjax_lite.numerics.power_series import estimate_log_det

DIM, NUM_KEYS = 4, 40_000
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(DIM, DIM))
KERNEL *= 0.8 / np.linalg.norm(KERNEL, 2)
X = RNG.normal(size=DIM)


def residual(inputs: tuple[Array, Array], sign: float = 1.0) -> Array:
    """A function of x with a Lipschitz constant of 0.8, and a kernel that it closes over."""
    x, kernel = inputs
    return sign * jnp.tanh(jnp.matmul(kernel, x) + 0.3 * jnp.ones(DIM))


def exact(inputs: tuple[Array, Array]) -> Array:
    """What is estimated."""
    jacobian = jax.jacfwd(lambda x: residual((x, inputs[1])))(inputs[0])
    return jnp.linalg.slogdet(jnp.eye(DIM) + jacobian)[1]


def standard_errors(*, sign: float = 1.0, continuation: float = 0.7, num: int = 2) -> np.ndarray:
    """How far the means of estimates, and of all their derivatives, are from the exact ones."""
    inputs = jnp.asarray(X), jnp.asarray(KERNEL)

    def estimate(inputs: tuple[Array, Array], key: Array) -> Array:
        return estimate_log_det(
            lambda x: residual((x, inputs[1]), sign),
            inputs[0],
            key,
            continuation=continuation,
            num_exact_terms=num,
        )

    @jax.jit
    def run(keys: Array) -> tuple:
        one_each = jax.vmap(jax.value_and_grad(estimate), in_axes=(None, 0))
        return one_each(inputs, keys), jax.value_and_grad(exact)(inputs)

    estimates, expected = run(jax.random.split(jax.random.key(0), NUM_KEYS))
    errors = []
    for got, want in zip(jax.tree.leaves(estimates), jax.tree.leaves(expected), strict=True):
        spread = np.std(got, axis=0) / np.sqrt(NUM_KEYS)
        errors.append(np.ravel((np.mean(got, axis=0) - want) / spread))
    return np.abs(np.concatenate(errors))


@pytest.mark.parametrize(("continuation", "num"), [(0.7, 1), (0.8, 4)])
def test_mean_is_exact(x64: None, continuation: float, num: int):
    """Catches a wrong weight, sign or factor of a term, or of its part of the gradient."""
    assert np.max(standard_errors(continuation=continuation, num=num)) < 5.5


def test_the_other_sign_is_noticed(x64: None):
    """The twin: catches a check too weak to see I - J in place of I + J."""
    errors = standard_errors(sign=-1.0)
    assert errors[0] > 10
    assert np.median(errors) > 10


def test_a_series_cut_off_is_noticed(x64: None):
    """The twin: catches a check too weak to see that terms are missing."""
    # One more term is so improbable that no key draws it, and nothing stands for it.
    errors = standard_errors(continuation=1e-9, num=1)
    assert errors[0] > 10
    assert np.median(errors) > 10


@pytest.mark.parametrize("j", [-0.9, -0.3, 0.0, 0.6])
def test_gradient_is_that_of_the_estimate_for_one_entry(x64: None, j: float):
    """Catches a gradient of other terms than the value's: for one entry they are the same.

    Signs cancel there, so the estimate is a polynomial in the slope, for each key another.
    """

    def estimate(j: Array, key: Array) -> Array:
        x = jnp.ones(1)
        return estimate_log_det(lambda x: j * x, x, key, continuation=0.7, num_exact_terms=2)

    @jax.jit
    def run(j: Array, keys: Array) -> tuple[Array, Array]:
        return jax.vmap(jax.value_and_grad(estimate), in_axes=(None, 0))(j, keys)

    keys = jax.random.split(jax.random.key(0), 50)
    values, gradients = run(jnp.asarray(j), keys)
    (up, _), (down, _) = (run(jnp.asarray(j + step), keys) for step in (1e-6, -1e-6))
    np.testing.assert_allclose(gradients, (up - down) / 2e-6, rtol=1e-7)
    assert len(np.unique(np.round(gradients, 12))) > (3 if j else 0)
    if j == 0:
        np.testing.assert_array_equal(values, 0.0)


def test_no_chance_of_more_terms_is_the_plain_series(x64: None):
    """Catches weights that differ from one where they must not, and signs of other places."""
    key = jax.random.key(0)
    diagonal = np.array([0.5, -0.2, 0.3, 0.1])  # signs cancel for a diagonal matrix too

    def estimate(scale: Array) -> Array:
        def function(x: Array) -> Array:
            return scale * jnp.asarray(diagonal) * x

        x = jnp.ones(DIM)
        return estimate_log_det(function, x, key, continuation=1e-9, num_exact_terms=3)

    value, slope = jax.value_and_grad(estimate)(jnp.asarray(1.0))
    expected = np.sum(diagonal - diagonal**2 / 2 + diagonal**3 / 3)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(slope, np.sum(diagonal - diagonal**2 + diagonal**3), rtol=1e-12)
