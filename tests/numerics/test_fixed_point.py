"""Fixed points of strictly triangular maps: exactness, the number of rounds, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.numerics.fixed_point import triangular_fixed_point

DIM = 6


def test_linear_system(x64: None):
    """Catches a solution, or a derivative in either mode, that is not that of x = Lx + b."""
    rng = np.random.default_rng(0)
    lower, b = (
        jnp.asarray(np.tril(rng.normal(size=(DIM, DIM)), -1)),
        jnp.asarray(rng.normal(size=DIM)),
    )

    def solve(b: Array) -> Array:
        return triangular_fixed_point(lambda x: lower @ x + b, jnp.ones(DIM))

    inverse = np.linalg.inv(np.eye(DIM) - lower)
    np.testing.assert_allclose(solve(b), inverse @ b, rtol=1e-12)
    np.testing.assert_allclose(jax.jacfwd(solve)(b), inverse, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(jax.jacrev(solve)(b), inverse, rtol=1e-12, atol=1e-14)


def count_rounds(couple: Array) -> int:
    """How often the function is called for x_i = tanh(couple_i x_{i-1}) + 1."""
    rounds = []

    def function(x: Array) -> Array:
        jax.debug.callback(lambda: rounds.append(1))
        return jnp.tanh(couple * jnp.concatenate([jnp.zeros(1), x[:-1]])) + 1

    x = triangular_fixed_point(function, jnp.zeros(DIM))
    np.testing.assert_array_equal(x, function(x))
    jax.effects_barrier()
    return len(rounds) - 1


def test_rounds_end_when_nothing_changes():
    """Catches rounds that go on after the fixed point, or stop before it."""
    assert count_rounds(jnp.zeros(DIM)) == 2
    assert count_rounds(jnp.ones(DIM)) == DIM
    assert count_rounds(jnp.where(jnp.arange(DIM) < 3, 1.0, 0.0)) == 4


def test_nan_ends():
    """Catches a loop without an end, as NaN always differs from itself."""
    x = triangular_fixed_point(lambda x: x.at[0].set(jnp.nan), jnp.zeros(DIM))
    assert jnp.isnan(x[0])
