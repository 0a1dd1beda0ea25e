"""What a flow is asked gives the same with `jit` and without."""

import chex
import jax
import jax.numpy as jnp
from battery.measure import randomised
from flax import nnx

import flowjax_lite as fl

KEY = jax.random.key(0)
X = jnp.linspace(-2.0, 2.0, 6).reshape(2, 3)
FLOW = randomised(fl.flows.maf(dim=3, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0)))
SAMPLES, LOG_DENSITIES = FLOW.sample_and_log_prob(KEY, (2,))


class TestFlow(chex.TestCase):
    """A user calls a flow within a program of their own, or by itself."""

    @chex.variants(with_jit=True, without_jit=True)
    def test_log_prob(self) -> None:
        """Catches a density that depends on the program around it."""
        log_prob = self.variant(lambda flow, x: flow.log_prob(x))
        chex.assert_trees_all_close(log_prob(FLOW, X), FLOW.log_prob(X), rtol=1e-5)

    @chex.variants(with_jit=True, without_jit=True)
    def test_sample(self) -> None:
        """Catches samples that are others within a program."""
        sample = self.variant(lambda flow, key: flow.sample(key, (2,)))
        chex.assert_trees_all_close(sample(FLOW, KEY), SAMPLES, rtol=1e-5)

    @chex.variants(with_jit=True, without_jit=True)
    def test_sample_and_log_prob(self) -> None:
        """Catches densities of other samples than those that come with them."""
        both = self.variant(lambda flow, key: flow.sample_and_log_prob(key, (2,)))
        chex.assert_trees_all_close(both(FLOW, KEY), (SAMPLES, LOG_DENSITIES), rtol=1e-5)
