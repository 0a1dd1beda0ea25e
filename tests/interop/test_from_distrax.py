"""A distrax distribution as a base."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from scipy import stats

from flowjax_lite.bijectors import Buffer
from flowjax_lite.interop import FromDistrax


def test_from_distrax_is_fixed_and_leaves_the_original_alone():
    """Catches trained constants, stray leaves, and structures that change when read."""
    make = lambda: distrax.Independent(distrax.Normal(jnp.zeros(2), 1.0), 1)  # noqa: E731
    dist = make()
    structure = jax.tree.structure(dist)
    base = FromDistrax(dist)
    assert jax.tree.structure(dist) == structure
    assert base.event_shape == (2,)
    assert jax.tree.leaves(nnx.state(base, nnx.Param)) == []
    assert len(jax.tree.leaves(nnx.state(base, Buffer))) == len(jax.tree.leaves(base))
    read = make()
    assert read.event_shape == (2,) and read.batch_shape == ()
    assert jax.tree.structure(FromDistrax(read)) == jax.tree.structure(base)


def test_from_distrax_takes_a_scalar_distribution():
    """Catches a base that assumes vectors."""
    base = FromDistrax(distrax.Gumbel(0.0, 1.0))
    assert base.event_shape == ()
    np.testing.assert_allclose(base.log_prob(jnp.array(0.5)), stats.gumbel_r.logpdf(0.5), rtol=1e-6)
