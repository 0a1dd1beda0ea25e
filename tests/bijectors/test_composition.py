"""Compositions are asked: a user's own answers like those of the library, everywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from battery.registry import coupling
from flax import nnx
from jax import Array

import flowjax_lite as fl
from flowjax_lite import bijectors as b
from flowjax_lite.bijectors.base import with_parts
from flowjax_lite.conditioners import MLP
from flowjax_lite.continuous import ContinuousFlow, MLPDynamics, transport
from flowjax_lite.transformers import Affine

DIM, ROWS = 3, 400


class Rolled(b.AbstractBijector):
    """A bijector of the event with its entries moved on by one: a user's own composition."""

    def __init__(self, bijector: b.AbstractBijector) -> None:
        self.bijector = bijector
        self.event_shape = bijector.event_shape
        self.condition_shape = bijector.condition_shape

    def forward_and_log_det(self, x, condition=None, key=None):
        y, log_det = self.bijector.forward_and_log_det(jnp.roll(x, 1), condition, key)
        return jnp.roll(y, -1), log_det

    def inverse_and_log_det(self, y, condition=None, key=None):
        x, log_det = self.bijector.inverse_and_log_det(jnp.roll(y, 1), condition, key)
        return jnp.roll(x, -1), log_det

    def parts(self):
        return [b.Part(Rolled(part), forward) for part, forward in self.bijector.parts()]

    def _renewed(self, renew, batch, condition, weights, *, forward):
        batch = jnp.roll(batch, 1, axis=1)
        inner, batch = self.bijector.renewed(renew, batch, condition, weights, forward=forward)
        return with_parts(self, bijector=inner), jnp.roll(batch, -1, axis=1)


class RolledEquation(Rolled):
    """The same around a differential equation, whose parts start and end with the move."""

    def parts(self):
        move = b.Permutation([2, 0, 1])
        return [b.Part(move, True), *self.bijector.parts(), b.Part(move, False)]


def make_block(rngs: nnx.Rngs) -> b.Chain:
    """A network, a linear map, a normalisation."""
    layer = coupling(rngs, Affine(), MLP)
    return b.Chain([layer, b.Triangular(DIM), b.ActNorm(DIM), b.Permutation.random(DIM, rngs=rngs)])


def compositions() -> dict[str, b.AbstractBijector]:
    """A user's composition alone, around those of the library, and inside them."""
    rngs = nnx.Rngs(0)
    made = {
        "around Chain": Rolled(make_block(rngs)),
        "around Repeat": Rolled(b.Repeat(make_block, 2, rngs=rngs)),
        "inside Invert": b.Invert(Rolled(make_block(rngs))),
        "around Invert": Rolled(b.Invert(make_block(rngs))),
        "in Chain": b.Chain([Rolled(make_block(rngs)), make_block(rngs)]),
    }
    return {name: randomised(bijector) for name, bijector in made.items()}


@pytest.mark.parametrize("name", compositions())
def test_parts_make_the_whole(name: str):
    """Catches parts in another order or direction than the composition runs them."""
    bijector, x = compositions()[name], jnp.array([0.3, -1.0, 2.0])
    parts = bijector.parts()
    assert len(parts) >= 4
    for function, order in (
        (bijector.forward_and_log_det, parts),
        (bijector.inverse_and_log_det, [part.turned() for part in reversed(parts)]),
    ):
        value, total = x, 0.0
        for part in order:
            value, log_det = part.apply(value)
            total += log_det
        expected, expected_log_det = function(x)
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(total, expected_log_det, rtol=1e-4, atol=1e-5)
    chain = b.Chain(b.unrolled(bijector))
    np.testing.assert_allclose(chain.forward(x), bijector.forward(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", compositions())
def test_a_batch_renews_what_is_inside(name: str):
    """Catches statistics of a batch that took another path than the events will."""
    flow = fl.Flow(fl.distributions.StandardNormal(DIM), compositions()[name])
    x = 5 * jax.random.normal(jax.random.key(0), (ROWS, DIM)) + jnp.array([[1.0, 20.0, -300.0]])
    z = jax.vmap(fl.initialize(flow, x).bijector.inverse)(x)
    assert jnp.max(jnp.abs(z)) < 50
    assert jnp.max(jnp.abs(jax.vmap(flow.bijector.inverse)(x))) > 50


@pytest.mark.parametrize("inside", [Rolled, b.Invert, lambda inner: b.Invert(Rolled(inner))])
def test_layers_run_back_by_their_parts(inside, x64: None):
    """Catches a gradient whose layers were rebuilt in another order, or from other inputs."""

    def gradient(kind: str) -> tuple[nnx.State, Array]:
        repeat = b.Repeat(lambda rngs: inside(make_block(rngs)), 2, gradient=kind, rngs=nnx.Rngs(0))
        graph, params, rest = nnx.split(randomised(repeat), nnx.Param, ...)

        def score(params: nnx.State, x: Array) -> Array:
            y, log_det = nnx.merge(graph, params, rest).forward_and_log_det(x)
            return log_det + jnp.sum(jnp.sin(y))

        return jax.jit(jax.grad(score, (0, 1)))(params, jnp.array([0.3, -1.0, 2.0]))

    pairs = zip(*(jax.tree.leaves(gradient(kind)) for kind in ("invert", "store")), strict=True)
    for actual, expected in pairs:
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


def test_an_event_is_followed_through_equations_inside():
    """Catches a differential equation that is counted twice, or solved in another direction."""
    ode = randomised(
        ContinuousFlow(MLPDynamics(DIM, hidden=(4,), activation="tanh", rngs=nnx.Rngs(0)))
    )
    x = jnp.array([0.3, -1.0, 2.0])
    for bijector in (RolledEquation(ode), b.Invert(RolledEquation(ode))):
        for inverse in (False, True):
            way = transport(bijector, x, inverse=inverse)
            function = bijector.inverse_and_log_det if inverse else bijector.forward_and_log_det
            value, log_det = function(x)
            np.testing.assert_allclose(way.value, value, atol=1e-5)
            np.testing.assert_allclose(way.log_det, log_det, atol=1e-5)
            assert way.num_evaluations > 0


def test_chain_by_index_and_slice():
    """Catches a slice that is a list, a wrong part, and one that is empty."""
    chain = b.Chain([b.Exp(2), b.Affine(2), b.Reverse(2)])
    assert len(chain) == 3
    assert [type(part) for part in chain] == [b.Exp, b.Affine, b.Reverse]
    assert isinstance(chain[-1], b.Reverse)
    assert isinstance(chain[1:], b.Chain) and len(chain[1:]) == 2
    np.testing.assert_array_equal(chain[:1].forward(jnp.zeros(2)), jnp.ones(2))
    with pytest.raises(ValueError, match="bijectors is empty"):
        chain[3:]
    with pytest.raises(IndexError):
        chain[3]
