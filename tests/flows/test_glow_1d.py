"""Glow for vectors: what its blocks are made of, and that it starts well on any scale."""

import jax
import jax.numpy as jnp
import numpy as np
from battery.measure import randomised
from flax import nnx

import flowjax_lite as fl
from flowjax_lite import bijectors as b

ROWS = np.random.default_rng(0).normal([1e6, 3e-6, 5.0], [1e4, 1e-6, 1.0], (200, 3))


def make(**settings: object) -> fl.Flow:
    """A small one."""
    return fl.flows.glow_1d(dim=3, num_layers=3, hidden=(8,), rngs=nnx.Rngs(0), **settings)


def test_a_block_is_a_step_of_glow(x64: None):
    """Catches parts in another order: normalisation next to the data, the coupling next to z."""
    flow = randomised(fl.initialize(make(), ROWS))
    y = jnp.asarray(ROWS[7])
    expected = y
    for i in (2, 1, 0):
        block, order = jax.tree.map(lambda leaf, i=i: leaf[i], flow.bijector.layers).bijectors
        coupling, linear, norm = block.bijectors
        assert [type(part) for part in block.bijectors] == [b.Coupling, b.LU, b.ActNorm]
        for part in (order, norm, linear, coupling):
            expected = part.inverse(expected)
    np.testing.assert_allclose(flow.bijector.inverse(y), expected, rtol=1e-12)


def test_initialised_on_any_scale_it_is_near_the_data():
    """Catches columns of other units that training would have to find first."""
    flow = make()
    x = jnp.asarray(ROWS, jnp.float32)
    new = fl.initialize(flow, x)
    expected = np.sum(0.5 * np.log(2 * np.pi * np.e) + np.log(ROWS.std(0)))
    np.testing.assert_allclose(-jnp.mean(new.log_prob(x)), expected, atol=2e-2)
    assert not jnp.mean(flow.log_prob(x)) > -1e9


def test_gradients_agree(x64: None):
    """Catches an initialised layer that cannot be run back."""

    def slopes(gradient: str) -> list[jax.Array]:
        flow = randomised(fl.initialize(make(gradient=gradient), ROWS), scale=0.1)
        graphdef, params, rest = nnx.split(flow, nnx.Param, ...)

        def loss(params: nnx.State) -> jax.Array:
            return fl.negative_log_likelihood(nnx.merge(graphdef, params, rest), ROWS)

        return jax.tree.leaves(jax.jit(jax.grad(loss))(params))

    expected = slopes("store")
    for gradient in ("recompute", "invert"):
        for slope, stored in zip(slopes(gradient), expected, strict=True):
            np.testing.assert_allclose(slope, stored, rtol=1e-6, atol=1e-9)
