"""Transformers of tails: their formulas, what their parameters mean, and their limits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.gradients import with_gradients
from scipy import stats

from flowjax_lite.transformers import AbstractTransformer, Power, SinhArcsinh

both = pytest.mark.parametrize("transformer", [SinhArcsinh(), Power()], ids=repr)
NORMAL = stats.norm.ppf((np.arange(2000) + 0.5) / 2000)


def image(transformer: AbstractTransformer, params: list[float]) -> np.ndarray:
    """What becomes of quantiles of a normal distribution."""
    params = np.broadcast_to(np.array(params)[:, None], (len(params), NORMAL.size))
    return np.asarray(transformer.forward_and_log_det(params, NORMAL)[0])


@pytest.mark.usefixtures("x64")
def test_known_values():
    """Catches swapped parameters, or the formulas of the other direction."""
    y = np.array([-50.0, -1.3, -1e-6, 1e-6, 0.4, 7.0])
    skewness, log_tail = 3 * np.tanh(0.8 / 3), np.tanh(-0.5)
    x, log_det = SinhArcsinh().inverse_and_log_det(np.tile([[0.8], [-0.5]], 6), y)
    angle = np.exp(log_tail) * np.arcsinh(y) - skewness
    np.testing.assert_allclose(x, np.sinh(angle), rtol=1e-10)
    slope = np.exp(log_tail) * np.cosh(angle) / np.sqrt(1 + y**2)
    np.testing.assert_allclose(log_det, np.log(slope), rtol=1e-10, atol=1e-10)

    power = np.exp(np.tanh(-0.5))
    z, log_det = Power().forward_and_log_det(np.full((1, 6), -0.5), y)
    expected = np.sign(y) * ((1 + np.abs(y)) ** power - 1) / power
    np.testing.assert_allclose(z, expected, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(log_det, (power - 1) * np.log1p(np.abs(y)), rtol=1e-10)


@pytest.mark.usefixtures("x64")
def test_parameters_do_what_they_say():
    """Catches a skewness to the wrong side, and tails that grow where they should shrink."""
    for sign in (-1, 1):
        assert sign * stats.skew(image(SinhArcsinh(), [sign * 0.5, 0.0])) > 0.5
        assert sign * stats.kurtosis(image(SinhArcsinh(), [0.0, sign * -0.5])) > 0.5
        assert sign * stats.kurtosis(image(Power(), [sign * 0.5])) > 0.3


@both
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_extreme_parameters(transformer: AbstractTransformer, direction: str, dtype: np.dtype):
    """Catches an exponent that overflows, and a power of zero with an infinite slope."""
    function = getattr(transformer, f"{direction}_and_log_det")
    x = jnp.asarray([-1e30, -20.0, 0.0, 0.5, 1e4, 1e30], dtype)
    results = jax.jit(with_gradients, static_argnums=0)
    for size, *signs in itertools.product((30.0, 1e3, 1e20), (-1, 1), (-1, 1)):
        raw = size * jnp.asarray(signs, dtype)[: transformer.num_params]
        for result in results(function, jnp.tile(raw[:, None], (1, 6)), x):
            assert jnp.all(jnp.isfinite(result))


@both
def test_far_inputs(transformer: AbstractTransformer, dtype: np.dtype):
    """Catches digits lost in the tails, where log(1 + x²) or a difference of powers loses them."""
    x = jnp.asarray([-1e12, -1e5, -40.0, 1e-20, 40.0, 1e5, 1e12], dtype)
    params = jnp.full((transformer.num_params, 7), 0.4, dtype)
    y, log_det = transformer.forward_and_log_det(params, x)
    back, back_log_det = transformer.inverse_and_log_det(params, y)
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(back, x, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(back_log_det, -log_det, rtol=tolerance, atol=tolerance)
