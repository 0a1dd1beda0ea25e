"""The one-dimensional course example: flows from data to bounded bases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flowjax_lite as fl


@pytest.mark.parametrize(
    "base",
    [fl.distributions.Uniform(1), fl.distributions.Beta(1, alpha=5.0, beta=5.0)],
    ids=["uniform", "beta"],
)
def test_a_flow_to_a_bounded_base_trains(base):
    """Catches latents outside the support, whose likelihood is -inf and has no gradient."""
    rng = np.random.default_rng(0)
    sign = rng.choice([-2.0, 2.0], size=(1000, 1))
    x = (sign + 0.5 * rng.standard_normal((1000, 1))).astype(np.float32)
    flow = fl.flows.nsf_autoregressive(
        dim=1, num_layers=2, hidden=(8,), base=base, rngs=nnx.Rngs(0)
    )
    result = fl.fit(
        flow, x, key=jax.random.key(0), learning_rate=2e-2, max_epochs=40, progress=False
    )
    # The entropy of the mixture: a Gaussian's with scale 0.5, and one coin toss.
    entropy = 0.5 * np.log(2 * np.pi * np.e * 0.25) + np.log(2)
    assert -result.flow.log_prob(x).mean() == pytest.approx(entropy, abs=0.1)
    grid = jnp.linspace(-8, 8, 4001)[:, None]
    mass = jnp.trapezoid(jnp.exp(result.flow.log_prob(grid)), grid[:, 0])
    assert mass == pytest.approx(1.0, abs=1e-3)
    z = jax.vmap(result.flow.bijector.inverse)(x)
    assert z.min() >= 0
    assert z.max() <= 1
