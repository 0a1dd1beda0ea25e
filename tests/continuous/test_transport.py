"""What several continuous flows report together, and how they are solved in another way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array

import flowjax_lite as fl
from flowjax_lite.bijectors import Chain, Channelwise, Invert, Repeat, Standardize
from flowjax_lite.continuous import (
    AbstractDynamics,
    ContinuousFlow,
    MLPDynamics,
    Solver,
    transport,
    with_solver,
)
from flowjax_lite.continuous.transport import solvers

X = jnp.array([0.3, -0.5])


def layer(rngs: nnx.Rngs) -> ContinuousFlow:
    """A small flow."""
    return ContinuousFlow(MLPDynamics(2, hidden=(4,), activation="tanh", rngs=rngs))


@pytest.fixture(scope="module")
def composition() -> Chain:
    """Two equations in a scan, one turned around, and a map that is none."""
    layers = Repeat(layer, 2, rngs=nnx.Rngs(0))
    parts = [layers, Invert(layer(nnx.Rngs(1))), Standardize(2, loc=1.0, scale=2.0)]
    return randomised(Chain(parts), scale=0.5)


@pytest.mark.parametrize("inverse", [False, True])
def test_adds_up(composition: Chain, inverse: bool):
    """Catches parts in another order or direction, and a part that is left out of a sum."""
    way = transport(composition, X, inverse=inverse, energies=True)
    function = composition.inverse_and_log_det if inverse else composition.forward_and_log_det
    value, log_det = function(X)
    np.testing.assert_allclose(way.value, value, atol=1e-4)
    np.testing.assert_allclose(way.log_det, log_det, atol=1e-4)

    first, second = (
        jax.tree.map(lambda leaf, i=i: leaf[i], composition.bijectors[0].layers) for i in range(2)
    )
    turned, last = composition.bijectors[1].bijector, composition.bijectors[2]
    settings = {"inverse": inverse, "energies": True}
    others = {"inverse": not inverse, "energies": True}
    if inverse:
        ways = [turned.transport(last.inverse(X), **others)]
        ways += [second.transport(ways[-1].value, **settings)]
        ways += [first.transport(ways[-1].value, **settings)]
    else:
        ways = [first.transport(X, **settings)]
        ways += [second.transport(ways[-1].value, **settings)]
        ways += [turned.transport(ways[-1].value, **others)]
    assert way.num_evaluations == sum(each.num_evaluations for each in ways)
    expected = [sum(each) for each in zip(*(each.energies for each in ways), strict=True)]
    np.testing.assert_allclose(way.energies, expected, rtol=1e-3)
    assert expected[0] > 0.01


def test_one_failure_is_all_ways_failure(composition: Chain):
    """Catches a failed solve that a later one hides."""
    assert transport(composition, X).succeeded
    assert not transport(with_solver(composition, max_steps=1), X).succeeded


class Rough(AbstractDynamics):
    """A velocity that has no derivative."""

    def __init__(self) -> None:
        self.event_shape = (2,)
        self.condition_shape = None

    def __call__(self, time: Array, x: Array, condition: Array | None = None) -> Array:
        @jax.custom_jvp
        def velocity(x: Array) -> Array:
            return jnp.sin(x)

        @velocity.defjvp
        def refuse(primals: tuple, tangents: tuple) -> None:
            raise NotImplementedError("asked for a trace")

        return velocity(x)


def test_sampling_needs_no_trace():
    """Catches compositions whose `forward` takes the way with a log-determinant."""
    repeat = Repeat(lambda rngs: ContinuousFlow(Rough()), 2, rngs=nnx.Rngs(0))
    composition = Chain([repeat, Invert(ContinuousFlow(Rough()))])
    flow = fl.Flow(fl.distributions.StandardNormal(2), composition)
    assert flow.sample(jax.random.key(0), (3,)).shape == (3, 2)
    np.testing.assert_allclose(composition.inverse(composition.forward(X)), X, atol=1e-4)
    with pytest.raises(NotImplementedError, match="asked for a trace"):
        flow.log_prob(X)


def test_one_way_is_the_way_with_log_det(composition: Chain):
    """Catches parts that are taken in another order, or another direction."""
    for one_way, both in (
        (composition.forward, composition.forward_and_log_det),
        (composition.inverse, composition.inverse_and_log_det),
    ):
        np.testing.assert_allclose(one_way(X), both(X)[0], atol=1e-4)


def test_with_solver_changes_a_copy():
    """Catches a change of the model itself, and a saved file that forgets the change."""
    flow = randomised(fl.flows.cnf(dim=2, hidden=(8,), rngs=nnx.Rngs(0)), scale=0.5)
    fast = with_solver(flow, method="midpoint", num_steps=3)
    count = [transport(each.bijector, X, inverse=True).num_evaluations for each in (flow, fast)]
    assert count[1] == 6 < count[0]
    assert dict(fast.recipe.arguments)["num_steps"] == 3
    assert dict(flow.recipe.arguments)["num_steps"] is None
    sharp = with_solver(flow, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fast.log_prob(X), sharp.log_prob(X), atol=0.1)
    assert fast.log_prob(X) != sharp.log_prob(X)


def test_fast_flow_is_saved(tmp_path):
    """Catches a recipe that does not describe the flow with another solver."""
    fast = with_solver(
        fl.flows.ffjord(dim=2, hidden=(4,), rngs=nnx.Rngs(0)), method="euler", num_steps=2
    )
    fl.save(tmp_path / "fast.safetensors", fast)
    loaded = fl.load(tmp_path / "fast.safetensors")
    assert loaded.bijector.layers.solver == Solver(method="euler", num_steps=2)


def test_a_flow_joined_by_hand_is_saved_with_another_solver(tmp_path, composition: Chain):
    """Catches a part, at any depth, whose recipe keeps the solver of before."""
    flow = fl.distributions.Flow(fl.distributions.StandardNormal(2), composition)
    fast = with_solver(flow, method="euler", num_steps=2)
    fl.save(tmp_path / "fast.safetensors", fast)
    loaded = fl.load(tmp_path / "fast.safetensors")
    assert {*solvers(loaded)} == {Solver(method="euler", num_steps=2)}
    assert jax.tree.structure(loaded) == jax.tree.structure(fast)
    fl.save(tmp_path / "flow.safetensors", flow)  # it was left as it is


def test_mistakes_are_named(composition: Chain):
    """Catches a model without an equation, and one whose equation cannot be followed."""
    with pytest.raises(ValueError, match="Standardize holds no ContinuousFlow"):
        with_solver(Standardize(2, loc=0.0, scale=1.0), rtol=1e-3)
    with pytest.raises(TypeError, match="steps"):
        with_solver(composition, steps=3)
    with pytest.raises(ValueError, match="rtol is 0"):
        with_solver(composition, rtol=0)
    hidden = Channelwise(layer(nnx.Rngs(0)), (3,))
    with pytest.raises(TypeError, match=r"Channelwise holds a ContinuousFlow.*Chain"):
        transport(hidden, jnp.zeros((3, 2)))
