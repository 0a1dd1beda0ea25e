"""Deep flows in float32: the round trip, and the log-determinant against that in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from battery.registry import ON_REALS, network
from battery.registry.continuous import SHARP
from flax import nnx

import flowjax_lite as fl

DIM, LAYERS, EVENTS = 16, 8, 20
# How far parameters are moved off the identity; flows without a network have few of them.
NOISE = {"planar": 0.2, "radial": 0.2, "sylvester": 0.2}

# By default a solver is as precise as training asks for.
SETTINGS = {"ffjord": SHARP, "rnode": SHARP, "cnf": SHARP}


@pytest.mark.parametrize("name", ON_REALS)
def test_float32_is_accurate(name):
    """Catches a formula that cancels: errors beyond rounding after eight layers."""
    settings = network(name, hidden=(32, 32)) | SETTINGS.get(name, {})
    flow = fl.flows.NAMED[name](dim=DIM, num_layers=LAYERS, rngs=nnx.Rngs(0), **settings)
    flow = randomised(flow, scale=NOISE.get(name, 0.02))
    z = jax.random.normal(jax.random.key(0), (EVENTS, DIM))

    @jax.jit
    def there_and_back(flow, z):
        x, log_det = jax.vmap(flow.bijector.forward_and_log_det)(z)
        return x, log_det, *jax.vmap(flow.bijector.inverse_and_log_det)(x)

    x, log_det, back, back_log_det = there_and_back(flow, z)
    assert float(jnp.abs(x - z).max()) > 0.1  # not the identity
    assert float(jnp.max(jnp.abs(back - z))) <= 1e-5 * float(jnp.max(jnp.abs(z)))
    with jax.enable_x64(True):
        wide = jax.tree.map(
            lambda leaf: (
                leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
            ),
            flow,
        )
        # Against autodiff it is checked by the battery.
        inverse = jax.jit(jax.vmap(wide.bijector.inverse_and_log_det))
        expected = inverse(x.astype(jnp.float64))[1]
    np.testing.assert_allclose(back_log_det, expected, rtol=0, atol=2e-5)
    np.testing.assert_allclose(log_det, -expected, rtol=0, atol=2e-5)
