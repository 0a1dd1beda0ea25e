"""Chain, Repeat and Invert: order, conditions, keys, and compile time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array
from measure import randomised
from registry import CONDITION_DIM, DIM, autoregressive

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


def test_repeat_is_a_chain_of_its_layers(x64: None):
    """Catches layers that share parameters, run in the wrong order, or lose the condition."""
    repeat = randomised(b.Repeat(make_layer, 3, rngs=nnx.Rngs(0)))
    layers = [jax.tree.map(lambda leaf, i=i: leaf[i], repeat.layers) for i in range(3)]
    chain = b.Chain(layers)
    x, condition = X.astype(float), CONDITION.astype(float)
    for name in ("forward_and_log_det", "inverse_and_log_det"):
        value, log_det = jax.jit(getattr(repeat, name))(x, condition)
        expected, expected_log_det = jax.jit(getattr(chain, name))(x, condition)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(log_det, expected_log_det, rtol=1e-12)


def test_every_layer_is_drawn_and_trained_by_itself():
    """Catches one random start for all layers, and a layer without a gradient."""
    repeat = b.Repeat(make_layer, 3, rngs=nnx.Rngs(0))
    kernel = repeat.layers.bijectors[0].conditioner.layers[0].kernel[...]
    assert jnp.all(kernel[0] != kernel[1]) and jnp.all(kernel[1] != kernel[2])

    graph, params, rest = nnx.split(randomised(repeat), nnx.Param, ...)

    @jax.jit
    @jax.grad
    def gradient(params: nnx.State) -> Array:
        y, log_det = nnx.merge(graph, params, rest).inverse_and_log_det(X, CONDITION)
        return log_det + jnp.sum(jnp.sin(y))

    for place, leaf in jax.tree_util.tree_leaves_with_path(gradient(params)):
        assert jnp.all(jnp.any(leaf.reshape(3, -1) != 0, axis=1)), place


@pytest.mark.parametrize("name", ["forward_and_log_det", "inverse_and_log_det"])
def test_compile_time_does_not_grow_with_depth(name: str):
    """Catches a loop in Python: the program for 70 layers is as long as that for 7."""

    def length(num_layers: int) -> int:
        repeat = b.Repeat(make_layer, num_layers, rngs=nnx.Rngs(0))
        program = jax.jit(lambda repeat: getattr(repeat, name)(X, CONDITION)).lower(repeat)
        return len(program.as_text().splitlines())

    assert length(70) == length(7)


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
        (lambda: b.Repeat(lambda rngs: b.Exp(2), 0, rngs=nnx.Rngs(0)), "num_layers is 0"),
    ],
)
def test_mistakes_are_named(make, message: str):
    """Catches parts that do not fit together."""
    with pytest.raises(ValueError, match=message):
        make()
