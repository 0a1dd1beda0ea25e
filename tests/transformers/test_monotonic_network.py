"""The integral of a positive network, against adaptive integration."""

import re

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


def errors(num_nodes: int, scale: float, y: np.ndarray) -> np.ndarray:
    """What the quadrature makes wrong: x less β + ∫₀ʸ g, with g by the paper's formula."""
    network = MonotonicNetwork(hidden=(3, 2), bound=BOUND, num_nodes=num_nodes)
    params = drawn(network, scale, len(y))
    x, _ = run(network, params, jnp.asarray(y))
    # The slope at a point, which many nodes give to rounding, is g.
    fine = MonotonicNetwork(hidden=(3, 2), bound=BOUND, num_nodes=400)
    slope = jax.jit(lambda t: jnp.exp(fine.inverse_and_log_det(params[:, :1], t[None])[1][0]))
    expected = [quad(lambda t: float(slope(t)), 0, end, epsabs=1e-11)[0] for end in y]
    return np.abs(x - params[-1] - np.array(expected))


def test_integral(x64: None):
    """Catches a wrong interval, weight or node: more nodes come closer, up to rounding."""
    y = np.array([-3.9, -1.0, 0.5, 3.9])
    few, more, many = (np.max(errors(num_nodes, 0.5, y)) for num_nodes in (6, 12, 48))
    assert many < 1e-9 < 0.1 * more < 0.01 * few


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
    gradient = jax.grad(score)(jnp.full((network.num_params, 2), 0.1))[:, 0]
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
