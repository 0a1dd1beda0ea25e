"""Networks of angles: what they see of an input."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

from flowjax_lite.conditioners import MLP, Periodic


def network(in_dim: int) -> MLP:
    """A small one whose output depends on all that it sees."""
    return randomised(MLP(in_dim, out_shape=(2,), hidden=(5,), rngs=nnx.Rngs(0)))


def test_angles_are_seen_by_cosine_and_sine():
    """Catches inputs in another order than is written: others, cosines, sines."""
    inner, x = network(6), jnp.asarray([0.3, -1.2, 2.9, 0.7])
    expected = inner(jnp.asarray([-1.2, 0.7, *np.cos([2.9, 0.3]), *np.sin([2.9, 0.3])]))
    np.testing.assert_allclose(Periodic(inner, (2, 0))(x), expected, rtol=1e-5)


def test_full_turns_change_nothing_for_angles_alone():
    """Catches an angle that is seen as a number too, and a number seen as an angle."""
    conditioner, x = Periodic(network(4), (1,)), jnp.asarray([0.3, -1.2, 2.9])
    turns = 2 * math.pi * jnp.eye(3)
    first, angle, last = (np.max(np.abs(conditioner(x + t) - conditioner(x))) for t in turns)
    assert angle < 1e-5 < 1e-3 < min(first, last)


@pytest.mark.parametrize("circular", [(3,), (0, 0), (-1,)])
def test_wrong_columns_are_named(circular: tuple[int, ...]):
    """Catches an angle that is counted twice, or from the end."""
    with pytest.raises(ValueError, match=r"circular is \(.*column numbers \(0"):
        Periodic(network(4), circular)
