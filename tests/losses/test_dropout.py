"""Conditions that are left out: as often as asked, of whole rows, anew in each step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.losses import condition_dropout

X = jnp.zeros((200, 2))
CONDITION = 1 + jax.random.uniform(jax.random.key(0), (200, 3))
FLOW = fl.flows.maf(dim=2, condition_dim=3, num_layers=1, hidden=(4,), rngs=nnx.Rngs(0))


def seen(model, x, condition=None, weights=None, key=None):
    """A loss that shows what it is given."""
    return condition, key


def test_whole_rows_lose_their_condition_at_the_rate():
    """Catches entries that are dropped one by one, another rate, and the same rows each time."""
    loss = condition_dropout(seen, rate=0.3)
    draws = jax.jit(jax.vmap(lambda key: loss(FLOW, X, CONDITION, key=key)[0]))
    conditions = np.asarray(draws(jax.random.split(jax.random.key(0), 50)))
    is_left_out = np.all(conditions == 0, axis=2)
    kept = np.all(conditions == np.asarray(CONDITION), axis=2)
    assert np.all(is_left_out != kept)
    np.testing.assert_allclose(is_left_out.mean(), 0.3, atol=0.02)
    assert len(np.unique(is_left_out, axis=0)) == 50


def test_nothing_is_left_out_without_a_key_and_the_loss_has_its_own():
    """Catches epochs that are compared on other conditions, and noise bound to the choice."""
    loss = condition_dropout(seen)
    condition, key = loss(FLOW, X, CONDITION)
    assert condition is CONDITION and key is None
    given = jax.random.key(0)
    assert loss(FLOW, X, CONDITION, key=given)[1] != given
    plain = fl.negative_log_likelihood(FLOW, X, CONDITION)
    assert condition_dropout(fl.negative_log_likelihood)(FLOW, X, CONDITION) == plain


def test_equal_arguments_give_equal_losses():
    """Catches losses that compile a training program anew."""
    assert condition_dropout(seen) == condition_dropout(seen, rate=0.1)
    assert condition_dropout(seen) != condition_dropout(seen, rate=0.2)


def test_mistakes_are_named():
    """Catches a loss that would be the one inside, and rows whose condition is missing."""
    for rate in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"rate is .*between 0 and 1"):
            condition_dropout(seen, rate=rate)
    flow = fl.flows.maf(dim=2, num_layers=1, hidden=(4,), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="this model takes none: build it with condition_dim"):
        condition_dropout(fl.negative_log_likelihood)(flow, X)
    with pytest.raises(TypeError, match="condition is missing"):
        condition_dropout(fl.negative_log_likelihood)(FLOW, X, key=jax.random.key(0))
