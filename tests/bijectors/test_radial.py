"""Radial layers: the closed form, its exact inverse, and the point itself."""

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

from flowjax_lite.bijectors import Radial


def radial() -> Radial:
    """A layer for three entries."""
    return Radial(3, rngs=nnx.Rngs(0))


def plain(params: np.ndarray) -> tuple[np.ndarray, float, float]:
    """x₀, α and β of the map, from the layer's parameters, by its definition."""
    center, s = 50 * np.tanh(params[:3] / 50), 50 * np.tanh(params[4] / 50)
    alpha = np.sqrt(3) * np.exp(5 * np.tanh(params[3] / 5))
    down, up = 1 / 0.99, 0.01
    middle = 1 - (down + up) * np.log(2)
    m = s / (middle + down * np.logaddexp(0, -s) + up * np.logaddexp(0, s))
    return center, alpha, alpha * m


@pytest.mark.parametrize("seed", range(4))
def test_known_values(x64: None, seed: int):
    """Catches a wrong radius, and a determinant that is not the matrix's."""
    params = random_params(radial(), 1.0, seed)
    x = np.random.default_rng(seed).normal(size=3)
    center, alpha, beta = plain(params)
    offset = x - center
    r = np.sqrt(offset @ offset)
    y, log_det = with_params(radial(), params).forward_and_log_det(jnp.asarray(x))
    np.testing.assert_allclose(y, x + beta * offset / (alpha + r), atol=1e-10)
    matrix = np.eye(3) * (1 + beta / (alpha + r))
    matrix -= beta / (alpha + r) ** 2 * np.outer(offset, offset) / r
    np.testing.assert_allclose(log_det, np.linalg.slogdet(matrix)[1], atol=1e-10)


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
def test_round_trips_for_any_parameters(x64: None, scale: float):
    """Catches the wrong root of the quadratic, and one that cancels."""
    check_round_trips(radial(), 1e-10, seeds=10, scale=scale)


def test_round_trips_in_float32():
    """Catches an inverse that loses digits far out or near the point."""
    check_round_trips(radial(), 1e-5, seeds=5, scale=1.0)


@pytest.mark.parametrize("distance", [0.0, 1e-20, 1e-8])
@pytest.mark.parametrize("strength", [-100.0, -1.0, 2.0])
def test_at_the_point(distance: float, strength: float):
    """Catches NaN at r = 0: all directions are stretched alike there, by 1 + β / α."""
    params = np.array([0.0, 0.0, 0.0, 0.3, strength])
    layer, x = with_params(radial(), params), jnp.asarray([distance, 0.0, 0.0])
    _, alpha, beta = plain(params)
    slope = 1 + beta / alpha
    for function, expected in (
        (layer.forward_and_log_det, slope),
        (layer.inverse_and_log_det, 1 / slope),
    ):
        jacobian, by_log_det = jax.jacrev(function)(x)
        np.testing.assert_allclose(jacobian, expected * np.eye(3), rtol=1e-3, atol=1e-3)
        assert jnp.all(jnp.isfinite(by_log_det))
        np.testing.assert_allclose(function(x)[1], 3 * np.log(expected), rtol=1e-3)


def test_extreme_parameters():
    """Catches parameters that overflow, as a network emits them for an outlier."""
    check_extreme_params(radial())


def test_the_first_steps_move_all(x64: None):
    """Catches a start from which no gradient leads away."""
    layer = radial()
    params, gradient = gradient_of_density(layer)
    np.testing.assert_array_equal(params[3:], 0.0)
    assert abs(gradient[4]) > 1e-2
    _, gradient = gradient_of_density(layer, steps=1)
    assert np.all(np.abs(gradient) > 1e-4)
