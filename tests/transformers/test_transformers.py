"""The additive and the affine transformer, and what all transformers promise."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.registry import REAL, TRANSFORMERS
from jax import Array

from flowjax_lite.transformers import AbstractTransformer, Additive, Affine

ALL = {name: item.make(None).transformer for name, item in TRANSFORMERS.items()}


def points(name: str, values: list) -> Array:
    """The numbers themselves where the domain is all of them, else squeezed into the domain."""
    domain, x = TRANSFORMERS[name].data, jnp.asarray(values)
    if domain is REAL:
        return x
    return domain.low + (domain.high - domain.low) * jax.nn.sigmoid(x)


@functools.partial(jax.jit, static_argnums=0)
def both_ways(transformer: AbstractTransformer, params: Array, x: Array) -> list:
    """Of each direction: result, log-determinant and slope, and the former two entry by entry."""

    def way(function: Callable) -> tuple:
        def total(x: Array) -> tuple[Array, tuple[Array, Array]]:
            y, log_det = function(params, x)
            return jnp.sum(y), (y, log_det)

        slope, (y, log_det) = jax.grad(total, has_aux=True)(x)
        flat = params.reshape(len(params), -1)
        alone = jax.vmap(function, (1, 0))(flat, x.ravel())
        return y, log_det, slope, *(each.reshape(x.shape) for each in alone)

    return [way(transformer.forward_and_log_det), way(transformer.inverse_and_log_det)]


@pytest.mark.parametrize("name", ALL)
def test_zero_parameters_are_the_identity(name: str):
    """Catches a flow that does not start as the identity."""
    transformer, x = ALL[name], points(name, [[-30.0, -1.3, 0.0], [0.4, 2.0, 1e5]])
    params = jnp.zeros((transformer.num_params, *x.shape), x.dtype)
    rounding = 8 * jnp.finfo(x.dtype).eps
    for y, log_det, *_ in both_ways(transformer, params, x):
        np.testing.assert_allclose(y, x, rtol=rounding, atol=rounding)
        np.testing.assert_allclose(log_det, 0.0, rtol=0, atol=rounding)


@pytest.mark.parametrize("name", ALL)
def test_elementwise(name: str):
    """Catches a transformer that mixes entries, or sums its log-determinants."""
    transformer, x = ALL[name], points(name, [[-1.3, 0.4, 2.5], [0.1, -7.0, 1.9]])
    shape = (transformer.num_params, *x.shape)
    params = jnp.asarray(np.random.default_rng(0).normal(size=shape), x.dtype)
    for y, log_det, slope, *alone in both_ways(transformer, params, x):
        assert y.shape == log_det.shape == x.shape
        np.testing.assert_allclose(log_det, jnp.log(slope), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(alone, (y, log_det), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_equal_settings_are_equal(name: str):
    """Catches a transformer by whose identity jit would compile again."""
    transformer = ALL[name]
    again = type(transformer)(**vars(transformer))
    assert again == transformer
    assert hash(again) == hash(transformer)
    with pytest.raises(AttributeError):
        transformer.num_params = 7


def test_known_values(dtype: np.dtype):
    """Catches a swapped shift and scale, or a scale instead of its logarithm."""
    x, params = jnp.asarray(2.0, dtype), jnp.asarray([0.5, 0.3], dtype)
    np.testing.assert_allclose(Additive().forward_and_log_det(params[:1], x), (2.5, 0.0))
    s = 5 * np.tanh(0.3 / 5)
    expected = (2 * np.exp(s) + 0.5, s)
    np.testing.assert_allclose(Affine().forward_and_log_det(params, x), expected, rtol=1e-6)


@pytest.mark.parametrize("transformer", [Additive(), Affine(), Affine(max_log_scale=30.0)])
@pytest.mark.parametrize("size", [1e3, 1e20])
def test_extreme_parameters(transformer: AbstractTransformer, size: float):
    """Catches a scale that overflows, as a network emits it for an outlier in its input."""
    signs = jnp.asarray([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]])
    params, x = size * signs[: transformer.num_params], jnp.asarray([-2.0, 0.0, 0.5, 3.0])
    for function in (transformer.forward_and_log_det, transformer.inverse_and_log_det):
        outputs, pull = jax.vjp(function, params, x)
        results = [*outputs, *pull((jnp.ones(4), jnp.zeros(4))), *pull((jnp.zeros(4), jnp.ones(4)))]
        for result in results:
            assert jnp.all(jnp.isfinite(result))


@pytest.mark.parametrize("bound", [0.0, -1.0, 31.0, float("nan")])
def test_mistakes_are_named(bound: float):
    """Catches a bound that lets the scale overflow."""
    with pytest.raises(ValueError, match=f"max_log_scale is {bound}; expected"):
        Affine(max_log_scale=bound)
