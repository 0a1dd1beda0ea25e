"""Invertible residual layers: both log-determinants, the fixed point, and where there is none."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array

from flowjax_lite import flows
from flowjax_lite.bijectors import GRADIENTS, InvertibleResidual
from flowjax_lite.conditioners import LipschitzMLP
from flowjax_lite.distributions import Flow

DIM, NUM_KEYS = 3, 20_000
Y = np.array([0.4, -1.0, 0.7])


def make_layer(log_det: str = "exact", weights: float = 1.0, **settings) -> InvertibleResidual:
    """A layer off its start, whose network's bound matters."""
    network = randomised(LipschitzMLP(DIM, hidden=(8,), **settings, rngs=nnx.Rngs(0)), scale=0.8)
    for layer in [*network.layers, network.last]:
        layer.kernel[...] *= weights
    return InvertibleResidual(network, log_det=log_det)


@jax.jit
def both_ways(layer: InvertibleResidual, x: Array, key: Array | None) -> tuple[Array, ...]:
    """An event, where it goes, and both log-determinants."""
    y, log_det = layer.forward_and_log_det(x, key=key)
    return y, log_det, *layer.inverse_and_log_det(y, key=key)


def test_without_a_key_the_log_det_is_exact(x64: None):
    """Catches an estimate where none was asked for: of "series" without a key, of "exact" with."""
    x, key = jnp.asarray(Y), jax.random.key(0)
    exact, series = make_layer(), make_layer("series")
    y, log_det, back, back_log_det = both_ways(exact, x, None)
    _, expected = np.linalg.slogdet(jax.jit(jax.jacfwd(exact.inverse))(y))
    assert abs(expected) > 0.1
    np.testing.assert_allclose(log_det, -expected, rtol=1e-10)
    np.testing.assert_allclose(back_log_det, expected, rtol=1e-10)
    for layer, chance in ((series, None), (exact, key)):
        for got, want in zip(
            both_ways(layer, x, chance), (y, log_det, back, back_log_det), strict=True
        ):
            np.testing.assert_allclose(got, want, rtol=1e-12)
    assert abs(both_ways(series, x, key)[1] - log_det) > 1e-6


@functools.cache
def estimates(forward: bool) -> tuple[tuple, tuple]:
    """The log-determinant and its gradient: for many keys, and without one."""
    graph, params, rest = nnx.split(make_layer("series"), nnx.Param, ...)

    def log_det(inputs: tuple[Array, nnx.State], key: Array | None) -> Array:
        layer = nnx.merge(graph, inputs[1], rest)
        function = layer.forward_and_log_det if forward else layer.inverse_and_log_det
        return function(inputs[0], key=key)[1]

    @jax.jit
    def run(inputs: tuple[Array, nnx.State], keys: Array) -> tuple[tuple, tuple]:
        each = jax.value_and_grad(log_det)
        return jax.vmap(each, in_axes=(None, 0))(inputs, keys), each(inputs, None)

    inputs = jnp.asarray(Y), params
    results = run(inputs, jax.random.split(jax.random.key(0), NUM_KEYS))
    return tuple(tuple(map(np.asarray, jax.tree.leaves(result))) for result in results)


def standard_errors(forward: bool, sign: float = 1.0) -> np.ndarray:
    """How far the means of all estimates are from the exact numbers."""
    errors = []
    for got, want in zip(*estimates(forward), strict=True):
        spread = np.std(got, axis=0) / np.sqrt(NUM_KEYS) + 1e-12
        errors.append(np.ravel((np.mean(got, axis=0) - sign * want) / spread))
    return np.abs(np.concatenate(errors))


@pytest.mark.parametrize("forward", [False, True])
def test_series_is_unbiased(x64: None, forward: bool):
    """Catches a bias of the estimate, or of its gradient by the event and by each parameter."""
    assert np.max(standard_errors(forward)) < 6


@pytest.mark.parametrize("forward", [False, True])
def test_the_other_sign_is_noticed(x64: None, forward: bool):
    """The twin: catches a check too weak to see a log-determinant of the wrong direction."""
    errors = standard_errors(forward, sign=-1.0)
    assert errors[0] > 10
    assert np.median(errors) > 10


def make_flow(gradient: str = "store") -> Flow:
    """Two layers with estimates, off their start."""
    options = {"dim": DIM, "num_layers": 2, "hidden": (8,), "log_det": "series"}
    return randomised(flows.residual(**options, gradient=gradient, rngs=nnx.Rngs(0)), scale=0.5)


def test_events_of_a_batch_have_chances_of_their_own():
    """Catches one key for a whole batch, whose errors would not average out."""
    flow, count = make_flow(), 4000
    x = jnp.broadcast_to(jnp.asarray(Y), (count, DIM))

    @jax.jit
    def run(flow: Flow, key: Array) -> tuple[Array, Array]:
        return flow.log_prob(x, key=key), flow.log_prob(x[0])

    log_prob, exact = run(flow, jax.random.key(0))
    assert len(np.unique(log_prob)) > 20  # signs and numbers of terms are few
    assert jnp.abs(jnp.mean(log_prob) - exact) < 5 * jnp.std(log_prob) / np.sqrt(count)


def test_a_key_means_the_same_for_every_gradient(x64: None):
    """Catches a backward pass that draws other numbers than the pass it belongs to."""

    @jax.jit
    def gradient_by_params(flow: Flow) -> nnx.State:
        graph, params, rest = nnx.split(flow, nnx.Param, ...)

        def score(params: nnx.State) -> Array:
            return nnx.merge(graph, params, rest).log_prob(jnp.asarray(Y), key=jax.random.key(3))

        return jax.grad(score)(params)

    expected, *others = (jax.tree.leaves(gradient_by_params(make_flow(g))) for g in GRADIENTS)
    for gradients in others:
        for got, want in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("activation", ["lipswish", "relu"])
def test_strong_layers_are_inverted(dtype: np.dtype, activation: str):
    """Catches rounds that end too early where a layer nearly folds, or its slopes jump."""
    layer = make_layer(weights=100.0, activation=activation, coefficient=0.99)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(300, DIM)) * np.geomspace(0.01, 100, 300)[:, None])
    y, log_det, back, back_log_det = jax.vmap(both_ways, in_axes=(None, 0, None))(layer, x, None)
    np.testing.assert_array_equal(log_det, -back_log_det)
    sizes = 1 + np.max(np.abs(x), axis=1, keepdims=True)
    np.testing.assert_allclose((back - x) / sizes, 0.0, atol=100 * jnp.finfo(dtype).eps)
    assert jnp.max(jnp.abs(y - x)) > 1


class Multiple(nnx.Module):
    """A network that multiplies by the condition, whatever it promises."""

    def __init__(self) -> None:
        self.dim, self.condition_shape, self.coefficient = DIM, (1,), 0.9

    def given(self, condition: Array, compute_dtype: str | None = None):
        """The multiplication."""
        return lambda x: condition[0] * x


def test_an_event_without_a_fixed_point_is_nan(dtype: np.dtype):
    """Catches a wrong event, or a finite log-determinant of one, and good neighbours lost."""
    layer = InvertibleResidual(Multiple())
    factors = jnp.asarray([[0.5], [1.0], [-0.9], [3.0], [np.nan]])
    x = jnp.broadcast_to(jnp.asarray(Y, dtype), (5, DIM))
    y, log_det = jax.jit(jax.vmap(layer.forward_and_log_det))(x, factors)
    bad = np.array([0, 1, 0, 1, 1], bool)
    np.testing.assert_array_equal(np.isnan(y), np.tile(bad[:, None], DIM))
    np.testing.assert_array_equal(np.isnan(log_det), bad)
    good = 1 + np.array([[0.5], [-0.9]])
    np.testing.assert_allclose(y[~bad], Y / good, rtol=1e-5)
    np.testing.assert_allclose(log_det[~bad], -DIM * np.log(good[:, 0]), rtol=1e-5)


@pytest.mark.parametrize("activation", ["lipswish", "relu"])
def test_nan_stays_in_its_event(activation: str):
    """Catches rounds without an end, and a NaN with a log-determinant like any other."""
    layer = make_layer(activation=activation)
    x = jnp.asarray(np.stack([Y, np.where(Y > 0.5, np.nan, Y), -Y]))
    y, log_det, *_ = jax.vmap(both_ways, in_axes=(None, 0, None))(layer, x, None)
    bad = np.array([False, True, False])
    np.testing.assert_array_equal(np.isnan(y), np.tile(bad[:, None], DIM))
    np.testing.assert_array_equal(np.isnan(log_det), bad)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"log_det": "exactly"}, ValueError, "log_det is 'exactly'; expected one of 'exact', 'ser"),
        ({"num_exact_terms": 0}, ValueError, "num_exact_terms is 0; expected a whole number"),
        ({"num_exact_terms": 1.5}, TypeError, r"num_exact_terms is 1\.5"),
    ],
)
def test_mistakes_are_named(settings: dict, error: type, message: str):
    """Catches a misspelt method that is taken for the default, and a series without terms."""
    network = LipschitzMLP(DIM, hidden=(4,), rngs=nnx.Rngs(0))
    with pytest.raises(error, match=message):
        InvertibleResidual(network, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"coefficient": 1.0}, r"coefficient is 1\.0; expected a number between 0 and 1"),
        ({"log_det": "exactly"}, "log_det is 'exactly'"),
        ({"activation": "silu"}, "activation is 'silu'; expected one of 'relu'"),
    ],
)
def test_mistakes_in_a_flow_are_named(settings: dict, message: str):
    """Catches a setting of the flow that does not reach its layers."""
    with pytest.raises(ValueError, match=message):
        flows.residual(dim=DIM, **settings, rngs=nnx.Rngs(0))
