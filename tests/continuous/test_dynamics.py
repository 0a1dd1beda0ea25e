"""Networks that give a velocity."""

import jax
import jax.numpy as jnp
import pytest
from battery.measure import randomised
from flax import nnx

from flowjax_lite.continuous import AbstractDynamics, ConcatSquash, MLPDynamics, ResidualDynamics

KINDS = [MLPDynamics, ConcatSquash, ResidualDynamics]


@pytest.mark.parametrize("kind", KINDS)
def test_velocity_depends_on_everything(kind: type[AbstractDynamics]):
    """Catches a network that does not see the time, the event or the condition."""
    dynamics = kind(3, hidden=(8, 8), condition_dim=2, rngs=nnx.Rngs(0))
    time, x, condition = jnp.asarray(0.3), jnp.ones(3), jnp.ones(2)
    assert not jnp.any(dynamics(time, x, condition))  # nothing moves at the start
    moving = randomised(dynamics, scale=0.5)
    for argument in range(3):
        jacobian = jax.jacrev(moving, argnums=argument)(time, x, condition)
        assert jnp.all(jacobian != 0)


def test_times_of_the_residual_network_differ():
    """Catches frequencies under which the ends of the way look alike."""
    moving = randomised(ResidualDynamics(2, hidden=(8,), rngs=nnx.Rngs(0)), scale=0.5)
    ends = [moving(jnp.asarray(time), jnp.ones(2)) for time in (0.0, 1.0)]
    assert jnp.all(jnp.abs(ends[0] - ends[1]) > 1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_mistakes_are_named(kind: type[AbstractDynamics]):
    """Catches settings that make no network."""
    with pytest.raises(ValueError, match="dim is 0"):
        kind(0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="hidden is"):
        kind(2, hidden=(), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="compute_dtype is"):
        kind(2, compute_dtype="float16", rngs=nnx.Rngs(0))
