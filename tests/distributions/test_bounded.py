"""Bases on an interval: their ends, and what lies beyond."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flowjax_lite.distributions import AbstractBase, Beta, Uniform


@pytest.mark.parametrize(
    "base", [Uniform(2), Beta(2, alpha=0.5, beta=3.0)], ids=["Uniform", "Beta"]
)
def test_outside_the_support(base: AbstractBase):
    """Catches a density or a NaN gradient outside the support, for all coordinates."""
    outside = jnp.array([-1e-6, 1.001, 1e30, -1e30, jnp.inf, -jnp.inf])
    z = jnp.stack([jnp.full(6, 0.5), outside], axis=1)
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(base.log_prob)))(z)
    assert jnp.all(values == -jnp.inf)
    assert jnp.all(jnp.isfinite(gradients)) and jnp.all(gradients[:, 1] == 0)


def test_the_ends_belong_to_the_uniform(dtype: np.dtype):
    """Catches an open interval, and ends compared in another precision than the input's."""
    base = Uniform(2, low=0.1, high=0.7)
    z = jnp.array([0.1, 0.7], dtype)
    np.testing.assert_allclose(base.log_prob(z), -2 * math.log(0.6), rtol=1e-6)
    for end, direction in ((0, -1), (1, 1)):
        beyond = z.at[end].set(jnp.nextafter(z[end], jnp.array(direction, dtype)))
        assert base.log_prob(beyond) == -jnp.inf


@pytest.mark.parametrize("shape", [0.5, 1.0, 5.0])
def test_the_ends_of_the_beta_are_finite(shape: float):
    """Catches infinite densities and gradients at a sample that was rounded to 0 or 1."""
    base = Beta(2, alpha=shape, beta=shape)
    value, gradient = jax.jit(jax.value_and_grad(base.log_prob))(jnp.array([0.0, 1.0]))
    assert jnp.isfinite(value) and jnp.all(jnp.isfinite(gradient))
