"""The integral of a positive network, against adaptive integration."""

import math
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy.integrate import quad

from flowjax_lite.transformers import MonotonicNetwork

BOUND = 4.0


def drawn(network: MonotonicNetwork, scale: float, columns: int) -> Array:
    """Random parameters, the same for each column."""
    draw = np.random.default_rng(0).normal(scale=scale, size=(network.num_params, 1))
    return jnp.asarray(np.tile(draw, columns))


def run(network: MonotonicNetwork, params: Array, y: Array) -> tuple[Array, Array]:
    """x and log ∂x/∂y, compiled."""
    return jax.jit(network.inverse_and_log_det)(params, y)


def integrand(params: np.ndarray, t: float, *, hidden: tuple[int, ...], bound: float) -> float:
    """g(t), from the weights and biases of each layer in turn; the first and last are of size 1."""
    raw, h = iter(params), np.array([t / bound])

    def take(*shape: int) -> np.ndarray:
        return np.array([next(raw) for _ in range(math.prod(shape))]).reshape(shape)

    for place, width in enumerate((*hidden, 1)):
        weights, bias = take(width, len(h)), 5 * np.tanh(take(width) / 5)
        if place == 0:
            # Steps at places evenly spread over 0.6 of the interval, the ends left out.
            centres = 0.6 * (2 * np.arange(1, width + 1) / (width + 1) - 1)
            h = np.tanh(5 * np.exp(np.tanh(weights[:, 0])) * (h - centres) + bias)
            continue
        weights = 2 * np.tanh(weights / 2)
        if place < len(hidden):
            rows, columns = np.indices(weights.shape) + 0.5
            weights += math.sqrt(2) * np.cos(math.pi * rows * columns / max(weights.shape))
        h = weights @ h / math.sqrt(len(h)) + bias
        if place < len(hidden):
            h = np.tanh(h)
    return math.exp(h[0])


def errors(network: MonotonicNetwork, scale: float, y: np.ndarray) -> tuple[float, float]:
    """The largest errors of x and of log ∂x/∂y, from β + ∫₀ʸ g and log g by adaptive integration.

    Those of x are relative to numbers above one.
    """
    params = drawn(network, scale, len(y))
    x, log_slope = run(network, params, jnp.asarray(y))
    g = partial(integrand, np.asarray(params[:-1, 0]), hidden=network.hidden, bound=network.bound)
    integrals = [quad(g, 0, end, epsabs=1e-12, epsrel=1e-12, limit=200)[0] for end in y]
    expected = np.asarray(params[-1]) + np.array(integrals)
    return (
        np.max(np.abs(x - expected) / (1 + np.abs(expected))),
        np.max(np.abs(log_slope - np.log([g(end) for end in y]))),
    )


def test_integral(x64: None):
    """Catches a wrong interval, weight or node, and another network than is described.

    More nodes come closer, up to rounding; few of them are the twin.
    """
    y = np.array([-3.9, -1.0, 0.5, 3.9])
    few, more, many = (
        np.array(errors(MonotonicNetwork((3, 2), BOUND, num_nodes), 0.5, y))
        for num_nodes in (6, 12, 48)
    )
    assert np.all(many < 1e-10) and np.all(more > 1e-7)
    assert np.all(10 * more < few)


@pytest.mark.parametrize(("scale", "limit"), [(0.2, 1e-10), (3.0, 1e-3)])
def test_default_size_suffices(scale: float, limit: float, x64: None):
    """Catches soft bounds that let g become too steep for the nodes: a few digits must stay."""
    network = MonotonicNetwork()
    assert max(errors(network, scale, np.array([-9.9, -3.0, 2.0, 9.9]))) < limit


def test_a_sum_that_falls_is_no_density(x64: None):
    """Catches a density where the map falls, as a sum of few nodes can; more nodes are the twin.

    g steps down by a factor of e⁴ at about 1.1, as steeply as one unit can.
    """
    few, enough = (MonotonicNetwork((1,), BOUND, num_nodes) for num_nodes in (3, 48))
    y = jnp.linspace(-3.9, 3.9, 400)
    params = jnp.tile(jnp.array([1e3, -5.0, -1e3, 0.0, 0.0])[:, None], (1, len(y)))
    x, log_slope = run(few, params, y)
    falls = jnp.diff(x) < 0
    undefined = jnp.isnan(log_slope)
    assert 10 < jnp.sum(falls) < 200
    assert not jnp.any(falls & ~(undefined[1:] | undefined[:-1]))
    assert not jnp.any(~falls & undefined[1:] & undefined[:-1])
    assert not jnp.any(jnp.isnan(run(enough, params, y)[1]))


def test_density_is_that_of_the_sum(x64: None):
    """Catches a log-determinant of the integrand where the map is a sum: 5 nodes tell them apart.

    The twin, the integrand itself, differs.
    """
    network = MonotonicNetwork(hidden=(3, 2), bound=BOUND, num_nodes=5)
    y = jnp.linspace(-3.5, 3.5, 7)
    params = drawn(network, 0.5, len(y))
    _, log_slope = run(network, params, y)
    slope = jax.jvp(lambda y: network.inverse_and_log_det(params, y)[0], (y,), (jnp.ones(7),))[1]
    np.testing.assert_allclose(log_slope, jnp.log(slope), rtol=1e-12, atol=1e-12)
    fine = MonotonicNetwork(hidden=(3, 2), bound=BOUND, num_nodes=400)
    integrand = run(fine, params, y)[1]
    assert jnp.max(jnp.abs(log_slope - integrand)) > 1e-3


def test_tails_continue_the_slope(x64: None):
    """Catches a step or a bend at the ends of the interval."""
    network = MonotonicNetwork(hidden=(3,), bound=BOUND)
    for end in (-BOUND, BOUND):
        y = jnp.asarray([end * (1 - 1e-9), end * (1 + 1e-9), 2 * end, 5 * end])
        params = drawn(network, 0.5, len(y))
        x, log_slope = run(network, params, y)
        assert abs(x[1] - x[0]) < 1e-6
        np.testing.assert_allclose(log_slope, log_slope[-1], atol=1e-6)
        np.testing.assert_allclose(x[3] - x[2], jnp.exp(log_slope[-1]) * 3 * end, rtol=1e-9)


def test_units_differ_at_parameters_of_zero():
    """Catches hidden units with equal gradients, which would stay equal for ever."""
    network = MonotonicNetwork(hidden=(3, 3), bound=BOUND)

    def score(params: Array) -> Array:
        x, log_slope = network.inverse_and_log_det(params, jnp.array([0.7, -2.0]))
        return jnp.sum(jnp.sin(x) + log_slope)

    # Small parameters, equal within each layer: in the last layer they let gradients through.
    differentiate = jax.jit(jax.grad(score))
    gradient = differentiate(jnp.full((network.num_params, 2), 0.1))[:, 0]
    for layer in (gradient[:3], gradient[3:6], gradient[6:15], gradient[15:18], gradient[18:21]):
        assert len(np.unique(np.round(layer, 6))) == len(layer)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"hidden": ()}, ValueError, "hidden is (); expected a tuple of widths"),
        ({"hidden": [8, 8]}, ValueError, "hidden is [8, 8]; expected a tuple of widths"),
        ({"hidden": (0,)}, ValueError, "a width in hidden is 0"),
        ({"bound": -1.0}, ValueError, "bound is -1.0; expected a positive finite number"),
        ({"num_nodes": 1}, ValueError, "num_nodes is 1; expected a whole number of at least 2"),
    ],
)
def test_mistakes_are_named(settings: dict, error: type[Exception], message: str):
    """Catches settings that make no map."""
    with pytest.raises(error, match=re.escape(message)):
        MonotonicNetwork(**settings)
