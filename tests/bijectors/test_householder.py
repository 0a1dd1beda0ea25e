"""Products of reflections: orthogonal whatever the vectors, and pairs that part."""

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

from flowjax_lite.bijectors import Householder


def householder(num_reflections: int) -> Householder:
    """A layer for three entries."""
    return Householder(3, num_reflections=num_reflections, rngs=nnx.Rngs(0))


def matrix(layer: Householder) -> np.ndarray:
    """What the layer multiplies by."""
    return np.asarray(jax.vmap(layer.forward, out_axes=1)(jnp.eye(3)))


@pytest.mark.parametrize("num_reflections", [1, 2, 3, 4])
def test_known_values(x64: None, num_reflections: int):
    """Catches a wrong order of the reflections, or a reflection that is none."""
    layer = householder(num_reflections)
    vectors = random_params(layer, 1.0, 0).reshape(-1, 3)
    expected = np.eye(3)
    for v in vectors:
        expected = (np.eye(3) - 2 * np.outer(v, v) / (v @ v)) @ expected
    trained = with_params(layer, vectors)
    np.testing.assert_allclose(matrix(trained), expected, atol=1e-10)
    sign, log_det = np.linalg.slogdet(expected)
    np.testing.assert_allclose(sign, (-1) ** num_reflections)
    np.testing.assert_allclose(log_det, trained.forward_and_log_det(jnp.ones(3))[1], atol=1e-10)


@pytest.mark.parametrize("num_reflections", [2, 3, 4])
def test_starts_in_pairs(num_reflections: int):
    """Catches vectors that are all alike, and a start other than the one that is promised."""
    layer = householder(num_reflections)
    vectors = np.asarray(layer.params.value[...])
    first = matrix(layer) if num_reflections == 3 else np.eye(3)
    np.testing.assert_allclose(matrix(layer), first, atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert len(np.unique(vectors, axis=0)) == (num_reflections + 1) // 2


def test_pairs_part(x64: None):
    """Catches two vectors of equal gradients, which would undo each other for ever."""
    layer = householder(4)
    before = np.linalg.norm(matrix(layer) - np.eye(3))
    _, gradient = gradient_of_density(layer)
    first, second, *_ = gradient.reshape(-1, 3)
    np.testing.assert_allclose(first, -second, atol=1e-10)
    assert np.linalg.norm(first) > 1e-2
    params, _ = gradient_of_density(layer, steps=20)
    vectors = params.reshape(-1, 3)
    assert np.all(np.linalg.norm(vectors[::2] - vectors[1::2], axis=1) > 1e-2)
    assert before < 1e-12
    assert np.linalg.norm(matrix(with_params(layer, params)) - np.eye(3)) > 1e-2


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_round_trips(dtype: np.dtype, scale: float):
    """Catches an inverse of another order."""
    check_round_trips(householder(4), 1e-10 if dtype == "float64" else 1e-5, seeds=5, scale=scale)


def test_extreme_parameters():
    """Catches parameters that overflow, as a network emits them for an outlier."""
    check_extreme_params(householder(3))


def test_mistakes_are_named():
    """Catches a layer that can reflect nothing."""
    with pytest.raises(ValueError, match="num_reflections is 0"):
        householder(0)
    with pytest.raises(ValueError, match="dim is 1; expected a whole number of at least 2"):
        Householder(1, num_reflections=2, rngs=nnx.Rngs(0))
