"""Planar layers: the closed form, the constraint, and the start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.low_rank import (
    check_extreme_params,
    check_round_trips,
    gradient_of_density,
    random_params,
    with_params,
)

from flowjax_lite.bijectors import PLANAR_NONLINEARITIES, Planar

every_nonlinearity = pytest.mark.parametrize("nonlinearity", PLANAR_NONLINEARITIES)


def planar(nonlinearity: str = "tanh") -> Planar:
    """A layer for three entries."""
    return Planar(3, nonlinearity=nonlinearity, rngs=nnx.Rngs(0))


def plain(params: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """w, u and b of the map, from the layer's parameters, by its definition."""
    w, u = 10 * np.tanh(params[:3] / 10), 10 * np.tanh(params[3:6] / 10)
    s, down, up = w @ u, 1 / 0.99, 0.01
    middle = 1 - (down + up) * np.log(2)
    u = u / (middle + down * np.logaddexp(0, -s) + up * np.logaddexp(0, s))
    return w, u, 100 * np.tanh(params[6] / 100)


@every_nonlinearity
@pytest.mark.parametrize("seed", range(4))
def test_known_values(x64: None, nonlinearity: str, seed: int):
    """Catches a wrong projection or slope, and a determinant that is not the matrix's."""
    layer = planar(nonlinearity)
    params = random_params(layer, 1.0, seed)
    x = np.random.default_rng(seed).normal(size=3)
    w, u, b = plain(params)
    a = w @ x + b
    h, slope = {
        "tanh": (np.tanh(a), 1 - np.tanh(a) ** 2),
        "leaky_relu": (a, 1.0) if a > 0 else (0.1 * a, 0.1),
    }[nonlinearity]
    y, log_det = with_params(layer, params).forward_and_log_det(jnp.asarray(x))
    np.testing.assert_allclose(y, x + u * h, atol=1e-10)
    _, expected = np.linalg.slogdet(np.eye(3) + slope * np.outer(u, w))
    np.testing.assert_allclose(log_det, expected, atol=1e-10)


@every_nonlinearity
@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
def test_round_trips_for_any_parameters(x64: None, nonlinearity: str, scale: float):
    """Catches a constraint that strong layers break, and a root that is not found."""
    check_round_trips(planar(nonlinearity), 1e-10, seeds=10, scale=scale)


@every_nonlinearity
def test_round_trips_in_float32(nonlinearity: str):
    """Catches an inverse that loses digits far out."""
    check_round_trips(planar(nonlinearity), 1e-5, seeds=3, scale=0.5)


@every_nonlinearity
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_increases_along_w(x64: None, nonlinearity: str, scale: float):
    """Catches w·u of -1 or below, where the map folds."""
    layer = planar(nonlinearity)
    for seed in range(10):
        params = random_params(layer, scale, seed)
        params[3:6] = -np.abs(scale) * params[:3]  # u against w
        w, *_ = plain(params)
        steps = jnp.linspace(-1.0, 1.0, 1001)[:, None] * jnp.asarray(w / (w @ w))[None]
        y = jax.vmap(with_params(layer, params).forward)(steps)
        assert jnp.all(jnp.diff(y @ w) > 0)


@every_nonlinearity
def test_extreme_parameters(nonlinearity: str):
    """Catches parameters that overflow, as a network emits them for an outlier."""
    check_extreme_params(planar(nonlinearity))


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-10])
def test_no_direction(length: float):
    """Catches a division by |w|², where w vanishes: the layer is a shift, with gradients."""
    layer = planar()

    def score(params: jax.Array) -> jax.Array:
        y, log_det = with_params(layer, params).forward_and_log_det(jnp.ones(3))
        return jnp.sum(y) + log_det

    params = jnp.asarray([length, -length, length, 0.5, 1.0, -2.0, 0.7])
    shift = with_params(layer, params).forward(jnp.zeros(3)) / np.tanh(0.7)
    np.testing.assert_allclose(shift, plain(np.asarray(params))[1], rtol=1e-4)
    gradient = jax.grad(score)(params)
    assert jnp.all(jnp.abs(gradient) < 10)
    assert jnp.all(gradient[:3] != 0)


@every_nonlinearity
def test_the_first_steps_move_all(x64: None, nonlinearity: str):
    """Catches a start from which no gradient leads away."""
    layer = planar(nonlinearity)
    params, gradient = gradient_of_density(layer)
    assert np.all(params[:3] != 0)
    np.testing.assert_array_equal(params[3:], 0.0)
    assert np.all(np.abs(gradient[3:6]) > 1e-2)
    _, gradient = gradient_of_density(layer, steps=1)
    assert np.all(np.abs(gradient) > 1e-4)


def test_mistakes_are_named():
    """Catches a misspelt nonlinearity that is taken for the default, and an empty event."""
    with pytest.raises(ValueError, match=r"nonlinearity is 'relu'; expected one of 'tanh', 'leak"):
        planar("relu")
    with pytest.raises(ValueError, match="dim is 0"):
        Planar(0, rngs=nnx.Rngs(0))
