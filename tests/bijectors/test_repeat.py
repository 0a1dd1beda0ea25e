"""Repeat: its layers, their keys, compile time, and the three ways to keep gradients."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from battery.registry import CONDITION_DIM, DIM, autoregressive, coupling
from flax import nnx
from jax import Array

from flowjax_lite import bijectors as b
from flowjax_lite.conditioners import MLP
from flowjax_lite.transformers import Affine

X, CONDITION = jnp.array([0.3, -1.0, 2.0]), jnp.array([0.5, -0.2])
DIRECTIONS = ["forward_and_log_det", "inverse_and_log_det"]
NUM_LAYERS, NUM_EVENTS, NUM_ROWS = 3, 4, 1000


def make_layer(rngs: nnx.Rngs) -> b.Chain:
    """A conditional layer with a network, a linear map and a buffer."""
    layer = autoregressive(rngs, condition_dim=CONDITION_DIM)
    return b.Chain([layer, b.LU(DIM), b.Permutation.random(DIM, rngs=rngs)])


def make_coupling(rngs: nnx.Rngs) -> b.Chain:
    """The same, and both directions take one pass."""
    layer = coupling(rngs, Affine(), MLP, CONDITION_DIM)
    return b.Chain([layer, b.LU(DIM), b.Permutation.random(DIM, rngs=rngs)])


def test_repeat_is_a_chain_of_its_layers(x64: None):
    """Catches layers that share parameters, run in the wrong order, or lose the condition."""
    repeat = randomised(b.Repeat(make_layer, 3, rngs=nnx.Rngs(0)))
    chain = b.Chain(list(repeat))
    x, condition = X.astype(float), CONDITION.astype(float)
    for name in DIRECTIONS:
        value, log_det = jax.jit(getattr(repeat, name))(x, condition)
        expected, expected_log_det = jax.jit(getattr(chain, name))(x, condition)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(log_det, expected_log_det, rtol=1e-12)


@pytest.mark.parametrize("gradient", ["store", "recompute", "invert"])
def test_rounds_of_several_layers(gradient: str, x64: None):
    """Catches layers that are left out or come twice where rounds do not divide them.

    Also a setting without effect: two of the layers stand in the program of each round.
    """

    def build(unroll: int) -> b.Repeat:
        options = {"gradient": gradient, "unroll": unroll, "rngs": nnx.Rngs(0)}
        return randomised(b.Repeat(make_coupling, 3, **options))

    def value_and_gradient(repeat: b.Repeat, x: Array) -> tuple[Array, Array]:
        return jax.value_and_grad(lambda x: repeat.inverse_and_log_det(x, CONDITION)[1])(x)

    x = X.astype(float)
    expected, two = build(1), build(2)
    for ours, theirs in zip(
        value_and_gradient(two, x), value_and_gradient(expected, x), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    one_size, two_size = (
        len(jax.jit(value_and_gradient).lower(each, x).as_text()) for each in (expected, two)
    )
    assert two_size > 1.05 * one_size


def test_layers_by_index():
    """Catches a layer that is another one's, and an index beyond the ends that is clamped."""
    repeat = randomised(b.Repeat(make_layer, 3, rngs=nnx.Rngs(0)))
    assert len(repeat) == len(list(repeat)) == 3
    for i in (0, 2, -1, -3):
        expected = jax.tree.map(lambda leaf, i=i: leaf[i], repeat.layers)
        np.testing.assert_array_equal(
            repeat[i].forward(X, CONDITION), expected.forward(X, CONDITION)
        )
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"index is {index}; this Repeat has 3 layers"):
            repeat[index]


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


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("gradient", ["store", "recompute", "invert"])
def test_compile_time_does_not_grow_with_depth(name: str, gradient: str):
    """Catches a loop in Python: the program for 70 layers is as long as that for 7."""

    def length(num_layers: int) -> int:
        repeat = b.Repeat(make_layer, num_layers, gradient=gradient, rngs=nnx.Rngs(0))

        def score(x: Array, repeat: b.Repeat) -> Array:
            return getattr(repeat, name)(x, CONDITION)[1]

        program = jax.jit(jax.grad(score)).lower(X, repeat)
        return len(program.as_text().splitlines())

    assert length(70) == length(7)


# How often what is differentiated is mapped, where, and in which mode. `score` takes parameters,
# one event and one condition.
BATCH = (None, 0, 0)
DERIVATIVES: dict[str, Callable] = {
    "one event": lambda score, p, x, c: jax.grad(score, (0, 1, 2))(p, x[0], c[0]),
    "sum over events": lambda score, p, x, c: jax.grad(
        lambda p, x, c: jnp.sum(jax.vmap(score, BATCH)(p, x, c)), (0, 1, 2)
    )(p, x, c),
    "one condition for all": lambda score, p, x, c: jax.grad(
        lambda p, x, c: jnp.sum(jax.vmap(score, (None, 0, None))(p, x, c)), (0, 1, 2)
    )(p, x, c[0]),
    "each event": lambda score, p, x, c: jax.vmap(jax.grad(score, (0, 1, 2)), BATCH)(p, x, c),
    "each of two models": lambda score, p, x, c: jax.vmap(
        jax.grad(lambda p, x, c: jnp.sum(jax.vmap(score, BATCH)(p, x, c))), (0, None, None)
    )(jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), p), x, c),
    "batch of batches": lambda score, p, x, c: jax.grad(
        lambda p: jnp.sum(
            jax.vmap(jax.vmap(score, BATCH), BATCH)(
                p, x.reshape(2, 2, *x.shape[1:]), c.reshape(2, 2, *c.shape[1:])
            )
        )
    )(p),
    "jvp": lambda score, p, x, c: jax.jvp(score, (p, x[0], c[0]), (p, x[1], c[1]))[1],
    "jacfwd": lambda score, p, x, c: jax.vmap(jax.jacfwd(score, (1, 2)), BATCH)(p, x, c),
    "hessian": lambda score, p, x, c: jax.vmap(jax.hessian(score, (1, 2)), BATCH)(p, x, c),
    "jacfwd of jacfwd": lambda score, p, x, c: jax.jacfwd(jax.jacfwd(score, 1), 1)(p, x[0], c[0]),
    "jacrev of jacrev": lambda score, p, x, c: jax.jacrev(jax.jacrev(score, 1), 1)(p, x[0], c[0]),
}


@functools.cache
def derivatives(gradient: str, name: str) -> dict[str, list[np.ndarray]]:
    """Every kind of derivative of one direction, as lists of numbers."""
    repeat = b.Repeat(make_coupling, NUM_LAYERS, gradient=gradient, rngs=nnx.Rngs(0))
    graph, params, rest = nnx.split(randomised(repeat), nnx.Param, ...)
    keys = jax.random.split(jax.random.key(1))
    x = jax.random.normal(keys[0], (NUM_EVENTS, DIM))
    condition = jax.random.normal(keys[1], (NUM_EVENTS, CONDITION_DIM))

    def score(params: nnx.State, x: Array, condition: Array) -> Array:
        y, log_det = getattr(nnx.merge(graph, params, rest), name)(x, condition)
        return jnp.sin(log_det) + jnp.sum(jnp.sin(y))

    @jax.jit
    def evaluate(params: nnx.State, x: Array, condition: Array) -> dict:
        return {kind: f(score, params, x, condition) for kind, f in DERIVATIVES.items()}

    results = evaluate(params, x, condition)
    return {kind: [np.asarray(a) for a in jax.tree.leaves(r)] for kind, r in results.items()}


@pytest.mark.parametrize("kind", DERIVATIVES)
@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("gradient", ["recompute", "invert"])
def test_gradients_are_those_of_storing(gradient: str, name: str, kind: str, x64: None):
    """Catches a weight's gradient summed where it should not be, or not summed where it should."""
    actual, expected = derivatives(gradient, name)[kind], derivatives("store", name)[kind]
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-9, atol=1e-9)


class Squeeze(b.AbstractBijector):
    """y = x / 10 + condition: a large condition takes the digits of x away."""

    def __init__(self, dim: int) -> None:
        self.event_shape, self.condition_shape = (dim,), (1,)
        self.scale = nnx.Param(jnp.full(dim, 0.1))

    def forward_and_log_det(self, x, condition=None, key=None):
        return self.scale[...] * x + condition[0], jnp.sum(jnp.log(self.scale[...]))

    def inverse_and_log_det(self, y, condition=None, key=None):
        return (y - condition[0]) / self.scale[...], -jnp.sum(jnp.log(self.scale[...]))


def squeezed_gradient(gradient: str, condition: Array) -> tuple[Array, Array]:
    """Gradients of two events by the event and by the scale of each layer."""
    repeat = b.Repeat(lambda rngs: Squeeze(DIM), 2, gradient=gradient, rngs=nnx.Rngs(0))
    graph, params, rest = nnx.split(repeat, nnx.Param, ...)

    def score(params: nnx.State, x: Array, condition: Array) -> Array:
        y, log_det = nnx.merge(graph, params, rest).forward_and_log_det(x, condition)
        return log_det + jnp.sum(y**2)

    def both(params: nnx.State, x: Array) -> tuple[nnx.State, Array]:
        return jax.vmap(jax.grad(score, (0, 1)), (None, 0, 0))(params, x, condition)

    by_params, by_x = both(params, jnp.stack([X, X]))
    return by_x, jax.tree.leaves(by_params)[0]


def test_what_cannot_be_rebuilt_has_no_gradient():
    """Catches a wrong gradient from an input that is lost, and a good one thrown away with it."""
    condition = jnp.array([[1.0], [1e7]])  # a float32 of 1e7 keeps no digit of 0.03
    by_x, by_scale = squeezed_gradient("invert", condition)
    expected_by_x, expected_by_scale = squeezed_gradient("store", condition)
    assert jnp.all(jnp.isnan(by_x[1])) and jnp.all(jnp.isnan(by_scale[1, 0]))
    np.testing.assert_allclose(by_x[0], expected_by_x[0], rtol=1e-4)
    np.testing.assert_allclose(by_scale[0], expected_by_scale[0], rtol=1e-4)


def test_an_outlier_does_not_hide_what_other_entries_lost():
    """Catches a check relative to the largest entry: here the others have lost all but 2 digits."""
    x = jnp.array([0.3, -1.0, 1e5])
    layer = b.Repeat(lambda rngs: Squeeze(DIM), 1, gradient="invert", rngs=nnx.Rngs(0))

    def score(x: Array, condition: Array) -> Array:
        y, log_det = layer.forward_and_log_det(x, condition)
        return log_det + jnp.sum(jnp.sin(y))

    assert jnp.all(jnp.isnan(jax.grad(score)(x, jnp.array([1e4]))))
    assert jnp.all(jnp.isfinite(jax.grad(score)(x, jnp.array([0.1]))))


def test_the_lost_input_would_give_a_wrong_gradient():
    """The twin: catches a check that is never needed, as what it checks is always good."""
    condition = jnp.array([[1.0], [1e7]])
    repeat = b.Repeat(lambda rngs: Squeeze(DIM), 2, rngs=nnx.Rngs(0))
    y = repeat.forward(X, condition[1])
    assert jnp.max(jnp.abs(repeat.inverse(y, condition[1]) - X)) > 1


def temporary_bytes(gradient: str, num_layers: int) -> int:
    """Memory of a gradient, besides its arguments and results."""

    def make_layer(rngs: nnx.Rngs) -> b.Chain:
        return b.Chain([coupling(rngs, Affine(), MLP), b.Reverse(DIM)])

    repeat = b.Repeat(make_layer, num_layers, gradient=gradient, rngs=nnx.Rngs(0))
    graph, params, rest = nnx.split(repeat, nnx.Param, ...)

    def loss(params: nnx.State, x: Array) -> Array:
        y, log_det = jax.vmap(nnx.merge(graph, params, rest).inverse_and_log_det)(x)
        return jnp.sum(y**2) - jnp.sum(log_det)

    compiled = jax.jit(jax.grad(loss)).lower(params, jnp.zeros((NUM_ROWS, DIM))).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_memory_for_each_layer_is_one_number_of_each_event():
    """Catches more that is kept, such as the input, of 3 numbers; storing keeps more than 12."""
    number = 4 * NUM_ROWS * (64 - 8)
    assert temporary_bytes("invert", 64) - temporary_bytes("invert", 8) < 1.1 * number
    assert temporary_bytes("store", 64) - temporary_bytes("store", 8) > 12 * number


def test_keys_reach_every_layer_of_both_passes():
    """Catches a key that the backward pass lacks, or that differs from the forward pass's."""

    class Jitter(b.AbstractBijector):
        """A random shift, the same in both directions."""

        def __init__(self) -> None:
            self.event_shape, self.condition_shape = (DIM,), None

        def forward_and_log_det(self, x, condition=None, key=None):
            return x + jax.random.normal(key, (DIM,)), jnp.sum(x**2)

        def inverse_and_log_det(self, y, condition=None, key=None):
            x = y - jax.random.normal(key, (DIM,))
            return x, -jnp.sum(x**2)

    def gradient(kind: str) -> Array:
        repeat = b.Repeat(lambda rngs: Jitter(), 3, gradient=kind, rngs=nnx.Rngs(0))
        return jax.grad(lambda x: repeat.forward_and_log_det(x, None, jax.random.key(3))[1])(X)

    np.testing.assert_allclose(gradient("invert"), gradient("store"), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_layers": 0}, "num_layers is 0"),
        (
            {"num_layers": 2, "gradient": "inverse"},
            "gradient is 'inverse'; expected one of 'store'",
        ),
    ],
)
def test_mistakes_are_named(arguments: dict, message: str):
    """Catches settings that mean nothing."""
    with pytest.raises(ValueError, match=message):
        b.Repeat(lambda rngs: b.Exp(2), **arguments, rngs=nnx.Rngs(0))


def test_layers_of_several_kinds_are_refused():
    """Catches arrays of layers that do not belong together, put side by side."""
    dims = iter((2, 2, 3))
    with pytest.raises(ValueError, match=r"another kind of layer in its call 3 .* a Chain"):
        b.Repeat(lambda rngs: b.Exp(next(dims)), 3, rngs=nnx.Rngs(0))


def test_layers_are_the_same_where_they_are_traced():
    """Catches other numbers in a flow that is built inside of a compiled function."""

    def build(key: Array) -> b.Repeat:
        return b.Repeat(make_layer, NUM_LAYERS, rngs=nnx.Rngs(key))

    known, traced = build(jax.random.key(0)), jax.jit(build)(jax.random.key(0))
    assert nnx.graphdef(known) == nnx.graphdef(traced)
    for one, other in zip(jax.tree.leaves(known), jax.tree.leaves(traced), strict=True):
        assert one.dtype == other.dtype and one.weak_type == other.weak_type
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_layers_may_hold_what_is_differentiated():
    """Catches a tracer in a layer whose keys are known."""

    def total(shift: Array) -> Array:
        def make(rngs: nnx.Rngs) -> b.Shift:
            layer = b.Shift(3)
            layer.shift[...] = shift
            return layer

        return jnp.sum(b.Repeat(make, 3, rngs=nnx.Rngs(0)).forward(X))

    np.testing.assert_allclose(jax.grad(total)(X), 3 * jnp.ones(3))
