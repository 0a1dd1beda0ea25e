"""Independence Metropolis steps, alone and mixed with NUTS of blackjax."""

from collections.abc import Callable
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array

import flowjax_lite as fl
from flowjax_lite.inference import IndependenceState, independence_step

KEY = jax.random.key(0)
WEIGHT = 0.8  # of the mode at 2; the other is at -2


class ForwardOnly(fl.bijectors.AbstractBijector):
    """x = 3 z + 0.5, whose inverse no one may ask for."""

    def __init__(self) -> None:
        self.event_shape, self.condition_shape = (1,), None

    def forward_and_log_det(self, x, condition=None, key=None):
        return 3.0 * x + 0.5, jnp.log(3.0)

    def inverse_and_log_det(self, y, condition=None, key=None):
        raise AssertionError("inverted what it has sampled")


FLOW = fl.Flow(fl.distributions.StandardNormal(1), ForwardOnly())


def two_modes(x: Array) -> Array:
    """Normals of width 0.5, not normalised."""
    log_modes = -0.5 * jnp.square((x[0] - jnp.array([2.0, -2.0])) / 0.5)
    return jax.nn.logsumexp(log_modes + jnp.log(jnp.array([WEIGHT, 1 - WEIGHT])))


def share_of_right_mode(
    step: Callable[[Array, Any], tuple[Any, Any]], states: Any, num_steps: int = 300
) -> float:
    """Of 64 parallel chains, whose first 50 steps do not count."""
    keys = jax.random.split(KEY, (num_steps, 64))

    def scanned(states: Any, keys: Array) -> tuple[Any, Array]:
        states, _ = jax.vmap(step)(keys, states)
        return states, states.position

    _, x = jax.jit(lambda states: jax.lax.scan(scanned, states, keys))(states)
    return float(jnp.mean(x[50:] > 0))


STARTS = IndependenceState(jnp.full((64, 1), -2.0), jnp.full(64, -1.6), jnp.full(64, -2.4))


def test_modes_get_their_weights_and_nothing_is_inverted() -> None:
    """Would catch a wrong ratio; of the twins, one accepts all, one forgets the proposal."""
    sampler = independence_step(FLOW, two_modes)
    assert abs(share_of_right_mode(sampler.step, STARTS) - WEIGHT) < 0.02

    def accepting(key: Array, state: IndependenceState) -> tuple[IndependenceState, None]:
        x, log_q = FLOW.sample_and_log_prob(key)
        return IndependenceState(x, two_modes(x), log_q), None

    def forgetful(key: Array, state: IndependenceState) -> tuple[IndependenceState, Any]:
        new, info = sampler.step(key, state._replace(log_proposal=-two_modes(jnp.zeros(1))))
        return new, info

    assert abs(share_of_right_mode(accepting, STARTS) - WEIGHT) > 0.1
    assert abs(share_of_right_mode(forgetful, STARTS) - WEIGHT) > 0.1


def test_mixed_with_nuts_in_the_space_of_the_flow() -> None:
    """Would catch steps that do not fit to the states of blackjax; NUTS alone keeps to a mode."""
    log_p = fl.inference.latent_log_density(FLOW, two_modes)
    nuts = blackjax.nuts(log_p, step_size=0.3, inverse_mass_matrix=jnp.ones(1), max_num_doublings=3)
    jump = independence_step(FLOW.base, log_p)

    def mixed(key: Array, state: Any) -> tuple[Any, Any]:
        local_key, jump_key = jax.random.split(key)
        state, _ = nuts.step(local_key, state)
        state, info = jump.step(jump_key, jump.init(state.position, state.logdensity))
        return nuts.init(state.position), info

    starts = jax.vmap(nuts.init)(jnp.full((64, 1), -0.8))  # z of x = -1.9
    assert abs(share_of_right_mode(mixed, starts, 150) - WEIGHT) < 0.03
    assert share_of_right_mode(nuts.step, starts, 60) < 0.3


def test_condition_of_the_proposal_matters() -> None:
    """Would catch a condition that is checked and dropped: here it is the proposal's place."""
    flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(4,), condition_dim=1, rngs=nnx.Rngs(0))
    flow = randomised(flow)
    flow = fl.Flow(flow.base, flow.bijector, condition_map=fl.bijectors.Standardize(1, loc=[5.0]))
    at = jnp.array([1.0])
    sampler = independence_step(flow, lambda x: flow.log_prob(x, at), at)
    state, info = sampler.step(KEY, sampler.init(jnp.zeros(2)))
    assert info.is_accepted and np.isclose(info.acceptance_rate, 1.0, atol=1e-4)
    np.testing.assert_allclose(state.log_proposal, flow.log_prob(state.position, at), rtol=1e-5)


@pytest.mark.parametrize("value", [jnp.nan, -jnp.inf])
def test_where_the_target_is_zero_or_nan_no_chain_stays(value: float) -> None:
    """Would catch a chain that is stuck at a bad start, or goes to where p is no number."""
    sampler = independence_step(FLOW, lambda x: jnp.where(x[0] < 0, value, two_modes(x)))
    starts = STARTS._replace(logdensity=jnp.full(64, value))
    keys = jax.random.split(KEY, (20, 64))
    for key in keys:
        starts, info = jax.vmap(sampler.step)(key, starts)
        assert np.isfinite(info.acceptance_rate).all()
    assert (starts.position > 0).all()


def test_mistakes_are_named() -> None:
    """Would catch errors that a sampler's inside reports, or a chain that never moves."""
    with pytest.raises(TypeError, match="proposal is a function"):
        independence_step(two_modes, two_modes)
    with pytest.raises(ValueError, match="condition was given"):
        independence_step(FLOW, two_modes, jnp.zeros(1))
    sampler = independence_step(FLOW, lambda x: x * jnp.nan)
    with pytest.raises(ValueError, match="expected a scalar"):
        sampler.init(jnp.zeros(1))
    with pytest.raises(ValueError, match=r"position has shape \(2,\)"):
        sampler.init(jnp.zeros(2))
    sampler = independence_step(FLOW, lambda x: jnp.sum(x * jnp.nan))
    with pytest.raises(ValueError, match="is NaN"):
        sampler.init(jnp.zeros(1))
