"""Sylvester layers: the matrices of each form, the determinant identity, and the inverse."""

from typing import Any

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

from flowjax_lite.bijectors import SYLVESTER_FORMS, Sylvester

SETTINGS: list[dict[str, Any]] = [
    {"form": "orthogonal", "rank": 1},
    {"form": "orthogonal", "rank": 2},
    {"form": "householder", "num_reflections": 2},
    {"form": "triangular"},
]
every_form = pytest.mark.parametrize(
    "settings", SETTINGS, ids=lambda settings: "-".join(map(str, settings.values()))
)


def sylvester(**settings: Any) -> Sylvester:
    """A layer for three entries."""
    return Sylvester(3, **settings, rngs=nnx.Rngs(0))


def plain(params: np.ndarray, rank: int) -> tuple[np.ndarray, ...]:
    """Q, R, R̃ and b of the map, from the layer's parameters, by its definition."""
    vectors, factors = np.split(params, [params.size - rank * (rank + 2)])
    *square, diagonal, shift = factors.reshape(-1, rank)
    square, diagonal = 10 * np.tanh(np.array(square) / 10), 10 * np.tanh(diagonal / 10)
    outer, inner = np.triu(square), np.tril(square, -1).T + np.diag(diagonal)
    s, down, up = np.diag(outer) * diagonal, 1 / 0.99, 0.01
    middle = 1 - (down + up) * np.log(2)
    factor = 1 / (middle + down * np.logaddexp(0, -s) + up * np.logaddexp(0, s))
    outer[np.diag_indices(rank)] *= factor
    q = np.eye(3)
    for v in vectors.reshape(-1, 3):
        q = (np.eye(3) - 2 * np.outer(v, v) / (v @ v)) @ q
    return q[:, :rank], outer, inner, 100 * np.tanh(shift / 100)


@every_form
@pytest.mark.parametrize("seed", range(3))
def test_known_values(x64: None, settings: dict, seed: int):
    """Catches a transposed factor, and a determinant that is not the matrix's."""
    layer = sylvester(**settings)
    params = random_params(layer, 1.0, seed)
    x = np.random.default_rng(seed).normal(size=3)
    q, outer, inner, shift = plain(params, layer.rank)
    np.testing.assert_allclose(q.T @ q, np.eye(layer.rank), atol=1e-14)
    a = inner @ q.T @ x + shift
    y, log_det = with_params(layer, params).forward_and_log_det(jnp.asarray(x))
    np.testing.assert_allclose(y, x + q @ outer @ np.tanh(a), atol=1e-10)
    jacobian = np.eye(3) + q @ outer @ np.diag(1 / np.cosh(a) ** 2) @ inner @ q.T
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=1e-10)


@every_form
@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
def test_round_trips_for_any_parameters(x64: None, settings: dict, scale: float):
    """Catches a constraint that strong layers break, and roots in the wrong order."""
    check_round_trips(sylvester(**settings), 1e-10, seeds=10, scale=scale)


@every_form
def test_round_trips_in_float32(settings: dict):
    """Catches an inverse that loses digits far out."""
    check_round_trips(sylvester(**settings), 1e-5, seeds=3, scale=0.5)


@every_form
def test_extreme_parameters(settings: dict):
    """Catches parameters that overflow, as a network emits them for an outlier."""
    check_extreme_params(sylvester(**settings))


@every_form
def test_the_first_steps_move_all(x64: None, settings: dict):
    """Catches a start from which no gradient leads away."""
    layer = sylvester(**settings)
    params, gradient = gradient_of_density(layer)
    size = layer.rank * (layer.rank + 2)
    square = gradient[-size : -2 * layer.rank].reshape(layer.rank, layer.rank)
    assert np.all(np.abs(np.triu(square)[np.triu_indices(layer.rank)]) > 1e-3)
    np.testing.assert_array_equal(params[-2 * layer.rank : -layer.rank], 1.0)
    _, gradient = gradient_of_density(layer, steps=2)
    assert np.all(np.abs(gradient) > 1e-7)


def test_compile_time_does_not_grow_with_rank():
    """Catches a program that spells out each coordinate's root."""

    def program(dim: int) -> str:
        layer = Sylvester(dim, rngs=nnx.Rngs(0))
        return jax.jit(layer.inverse_and_log_det).lower(jnp.zeros(dim)).as_text()

    assert program(4).count("\n") == program(12).count("\n")


def test_an_event_that_fails_is_nan_alone():
    """Catches a number in the place of a root, or a failure that spreads in a batch."""
    x = jnp.stack([jnp.ones(3), jnp.full(3, jnp.nan), jnp.zeros(3)])
    z, log_det = jax.vmap(sylvester().inverse_and_log_det)(x)
    np.testing.assert_array_equal(jnp.isfinite(log_det), [True, False, True])
    np.testing.assert_array_equal(jnp.all(jnp.isfinite(z), axis=1), [True, False, True])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"form": "diagonal"}, r"form is 'diagonal'; expected one of 'orthogonal', 'householder'"),
        ({"rank": 4}, r"rank is 4; expected at most dim, which is 3"),
        ({"rank": 0}, r"rank is 0"),
        ({"rank": 2, "form": "triangular"}, r"rank is 2; the triangular form has rank dim.*leave"),
        ({"rank": 2, "form": "householder"}, r"rank is 2; the householder form has rank dim"),
        ({"num_reflections": 0}, r"num_reflections is 0"),
    ],
)
def test_mistakes_are_named(settings: dict, message: str):
    """Catches a rank that no matrix has, and a setting that the form would ignore."""
    with pytest.raises(ValueError, match=message):
        sylvester(**settings)


def test_every_form_is_tried():
    """Catches a form that the tests above leave out."""
    assert {settings["form"] for settings in SETTINGS} == set(SYLVESTER_FORMS)
