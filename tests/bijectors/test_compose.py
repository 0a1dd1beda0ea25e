"""Chain and Invert: order, conditions, and keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from battery.registry import CONDITION_DIM, DIM, autoregressive
from flax import nnx

from flowjax_lite import bijectors as b


class Noisy(b.AbstractBijector):
    """The identity, with a random log-determinant where there is a key."""

    def __init__(self, dim: int) -> None:
        self.event_shape, self.condition_shape = (dim,), None

    def forward_and_log_det(self, x, condition=None, key=None):
        return x, jnp.zeros(()) if key is None else jax.random.normal(key)

    def inverse_and_log_det(self, y, condition=None, key=None):
        return self.forward_and_log_det(y, condition, key)


def make_layer(rngs: nnx.Rngs) -> b.Chain:
    """A conditional layer with a network, a linear map and a buffer."""
    layer = autoregressive(rngs, condition_dim=CONDITION_DIM)
    return b.Chain([layer, b.LU(DIM), b.Permutation.random(DIM, rngs=rngs)])


X, CONDITION = jnp.array([0.3, -1.0, 2.0]), jnp.array([0.5, -0.2])


def test_chain_starts_next_to_the_latent():
    """Catches parts applied in the opposite order, in either direction."""
    chain = b.Chain([b.Exp(DIM), b.Standardize(DIM, loc=3.0, scale=2.0), b.Reverse(DIM)])
    y, log_det = chain.forward_and_log_det(X)
    np.testing.assert_allclose(y, (2 * jnp.exp(X) + 3)[::-1], rtol=1e-6)
    np.testing.assert_allclose(log_det, jnp.sum(X) + DIM * jnp.log(2.0), rtol=1e-6)
    x, inverse_log_det = chain.inverse_and_log_det(y)
    np.testing.assert_allclose(x, X, rtol=1e-5)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-5)


@pytest.mark.parametrize(
    "bijector",
    [
        b.Chain([Noisy(DIM), Noisy(DIM)]),
        b.Repeat(lambda rngs: Noisy(DIM), 2, rngs=nnx.Rngs(0)),
        b.Invert(b.Chain([Noisy(DIM), Noisy(DIM)])),
    ],
    ids=["Chain", "Repeat", "Invert"],
)
def test_keys_reach_every_part(bijector: b.AbstractBijector):
    """Catches a key that is dropped, or the same one used for two parts."""
    key = jax.random.key(0)
    single = {float(jax.random.normal(k)) for k in (key, *jax.random.split(key))}
    for function in (bijector.forward_and_log_det, bijector.inverse_and_log_det):
        assert function(X)[1] == 0
        noise = float(function(X, None, key)[1])
        assert noise != 0
        assert noise not in {2 * value for value in single}
        assert noise == function(X, None, key)[1]


def test_condition_goes_where_it_is_taken():
    """Catches a condition given to a part that takes none, and one that is lost on the way."""
    chain = randomised(b.Chain([b.LU(DIM), b.Invert(make_layer(nnx.Rngs(0)))]))
    assert chain.condition_shape == (CONDITION_DIM,)
    assert jnp.all(chain.forward(X, CONDITION) != chain.forward(X, CONDITION + 1))


def test_invert_twice():
    """Catches an inversion that turns one direction only."""
    bijector = randomised(make_layer(nnx.Rngs(0)))
    inverted, twice = b.Invert(bijector), b.Invert(b.Invert(bijector))
    np.testing.assert_array_equal(inverted.inverse(X, CONDITION), bijector.forward(X, CONDITION))
    np.testing.assert_array_equal(twice.inverse(X, CONDITION), bijector.inverse(X, CONDITION))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: b.Chain([]), "bijectors is empty"),
        (lambda: b.Chain([b.Exp(2), b.Exp(3)]), r"event shapes \[\(2,\), \(3,\)\].*dim"),
        (
            lambda: b.Chain([autoregressive(nnx.Rngs(0), condition_dim=c) for c in (2, 4)]),
            r"conditions of different shapes \[\(2,\), \(4,\)\]",
        ),
    ],
)
def test_mistakes_are_named(make, message: str):
    """Catches parts that do not fit together."""
    with pytest.raises(ValueError, match=message):
        make()
