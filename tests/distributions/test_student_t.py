"""Student's t: all degrees of freedom, and far points."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from flowjax_lite.distributions.bases.student_t import MINIMUM_DF, StudentT
from flowjax_lite.numerics.scalar import softplus_inverse


def test_student_t_for_all_degrees_of_freedom(dtype: np.dtype):
    """Catches the cancellation of two log-gammas, and a jump where the series takes over."""
    df = jnp.array([0.6, 1.0, 3.0, 30.0, 63.9, 64.1, 1e3, 1e5], dtype)
    base = StudentT(df.size)
    base.raw_df[...] = softplus_inverse(df - MINIMUM_DF)
    exact_df = MINIMUM_DF + np.logaddexp(0, np.float64(base.raw_df[...]))
    z = jnp.full(df.size, 1.7, dtype)
    stacked = jax.tree.map(lambda _: base.raw_df[...][:, None], StudentT(1))
    each = jax.jit(jax.vmap(lambda one, z: one.log_prob(z)))(stacked, z[:, None])
    tolerance = 1e-10 if dtype == jnp.float64 else 2e-5
    np.testing.assert_allclose(each, stats.t.logpdf(np.float64(z), exact_df), atol=tolerance)
    slopes = jax.jit(jax.grad(lambda base: base.log_prob(z)))(base).raw_df[...]
    assert jnp.all(jnp.isfinite(slopes))


def test_student_t_far_out():
    """Catches z² overflowing: heavy tails are there for far points."""
    base = StudentT(1, df=3.0)
    z = jnp.array([[1e15], [1e25], [-3e38]])
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(base.log_prob)))(z)
    np.testing.assert_allclose(values, stats.t.logpdf(np.float64(z), 3.0)[:, 0], rtol=1e-5)
    np.testing.assert_allclose(gradients, -4 / z, rtol=1e-5)
