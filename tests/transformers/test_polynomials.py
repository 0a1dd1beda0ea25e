"""Sum-of-squares and Bernstein polynomials: numbers from numpy and scipy, and their limits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.gradients import with_gradients
from scipy.interpolate import BPoly

from flowjax_lite.transformers import AbstractTransformer, Bernstein, SumOfSquares

SOS, BERNSTEIN = SumOfSquares(num_polynomials=3, degree=4, half_width=4.0), Bernstein(12, bound=3.0)
both = pytest.mark.parametrize("transformer", [SOS, BERNSTEIN], ids=["SumOfSquares", "Bernstein"])


def random_params(transformer: AbstractTransformer, num: int, scale: float = 1.0) -> np.ndarray:
    """Parameters as a trained network emits them, (num_params, num)."""
    return scale * np.random.default_rng(0).normal(size=(transformer.num_params, num))


def sum_of_squares(params: np.ndarray, y: float) -> tuple[float, float]:
    """Image and slope within the interval, by numpy's algebra of polynomials."""
    slope = np.polynomial.Polynomial([0.0])
    for k in range(3):
        coefficients = np.zeros(5)
        for power in range(5):
            gain = (1 + (k + power) % 3) / 2
            raw = gain * params[5 * k + power]
            coefficients[power] = 100 * np.tanh(raw / 100) / 4.0**power
        slope += (1 + np.polynomial.Polynomial(coefficients)) ** 2 / 3
    slope = 1e-3 + (1 - 1e-3) * slope
    return params[-1] + slope.integ()(y), slope(y)


def bernstein(params: np.ndarray, y: float) -> tuple[float, float]:
    """Image and slope within the interval, by scipy's Bernstein polynomials."""
    slopes = np.exp(7 * np.tanh(params[:-1] / 7))
    # The middle of the map's range is the shift.
    ends = np.array([-1, 1]) * 3.0 * slopes.mean()
    coefficients = ends[0] + np.concatenate([[0], np.cumsum(slopes)]) * (6 / 12)
    np.testing.assert_allclose(coefficients[-1], ends[1])
    polynomial = BPoly(coefficients[:, None], [-3.0, 3.0])
    return params[-1] + polynomial(y), polynomial.derivative()(y)


@pytest.mark.parametrize(
    ("transformer", "reference"), [(SOS, sum_of_squares), (BERNSTEIN, bernstein)]
)
@pytest.mark.usefixtures("x64")
def test_known_values(transformer: AbstractTransformer, reference: object):
    """Catches wrong nodes, binomials, gains or tails; the tails are tangents at the ends."""
    bound = 4.0 if transformer is SOS else 3.0
    params = random_params(transformer, 40, 0.4)
    y = np.linspace(-1.7 * bound, 1.7 * bound, 40)
    x, log_det = jax.jit(transformer.inverse_and_log_det)(params, y)
    for i, value in enumerate(y):
        inside = np.clip(value, -bound, bound)
        image, slope = reference(params[:, i], inside)
        np.testing.assert_allclose(x[i], image + slope * (value - inside), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(log_det[i], np.log(slope), rtol=1e-10, atol=1e-10)


@both
def test_far_inputs(transformer: AbstractTransformer, dtype: np.dtype):
    """Catches a bracket that ends too early, a power that overflows, and NaN at infinity."""
    far = np.array([-1e30, -1e4, -300.0, 300.0, 1e4, 1e30])
    params = jnp.asarray(random_params(transformer, 6, 0.4), dtype)
    forward, inverse = map(
        jax.jit, (transformer.forward_and_log_det, transformer.inverse_and_log_det)
    )
    y, log_det = forward(params, jnp.asarray(far, dtype))
    x, inverse_log_det = inverse(params, y)
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(x, far, rtol=tolerance)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=tolerance, atol=tolerance)
    infinite = jnp.asarray([-np.inf, np.inf], dtype)
    for function in (forward, inverse):
        values, log_dets = function(params[:, :2], infinite)
        np.testing.assert_array_equal(values, infinite)
        assert jnp.all(jnp.isfinite(log_dets))


@pytest.mark.parametrize("transformer", [SumOfSquares(), SumOfSquares(1, 8), Bernstein()], ids=repr)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_extreme_parameters(transformer: AbstractTransformer, direction: str, dtype: np.dtype):
    """Catches a coefficient that overflows, or a root that is lost, for an outlier's parameters."""
    function = getattr(transformer, f"{direction}_and_log_det")
    x = jnp.asarray([-20.0, -2.0, 0.0, 0.5, 3.0, 1e4], dtype)
    results = jax.jit(with_gradients, static_argnums=0)
    signs = np.random.default_rng(0).choice([-1, 1], (transformer.num_params, 6))
    for size in (30.0, 1e3, 1e20):
        params = jnp.asarray(size * signs, dtype)
        # A shift without limits is a value without limits.
        for result in results(function, params.at[-1].set(1.0), x):
            assert jnp.all(jnp.isfinite(result))


def test_the_highest_degree():
    """Catches binomials that overflow in float32."""
    transformer = Bernstein(100)
    params = jnp.asarray(random_params(transformer, 3, 0.4), jnp.float32)
    function = jax.jit(transformer.inverse_and_log_det)
    for result in function(params, jnp.array([-3.0, 0.0, 2.9])):
        assert jnp.all(jnp.isfinite(result))


def test_equal_polynomials_part():
    """Catches squares that get equal gradients from equal parameters, and stay one for ever."""
    y = jnp.asarray(np.random.default_rng(0).gamma(2.0, size=200) - 2.0, jnp.float32)

    @jax.jit
    @jax.grad
    def gradient(params: jax.Array) -> jax.Array:
        shape = (SOS.num_params, *y.shape)
        x, log_det = SOS.inverse_and_log_det(jnp.broadcast_to(params[:, None], shape), y)
        return jnp.mean(0.5 * x**2 - log_det)

    params = jnp.zeros(SOS.num_params)
    for _ in range(20):
        params = params - 1e-2 * gradient(params)
    coefficients, _ = np.split(np.asarray(params), [-1])
    for one, other in itertools.combinations(coefficients.reshape(3, 5), 2):
        assert np.max(np.abs(one - other)) > 1e-2


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (SumOfSquares, {"num_polynomials": 0}, "num_polynomials is 0; expected a whole number"),
        (SumOfSquares, {"degree": 0}, "degree is 0; expected a whole number"),
        (SumOfSquares, {"half_width": -1.0}, "half_width is -1.0; expected a positive"),
        (Bernstein, {"degree": 1}, "degree is 1; expected a whole number from 2 to 100"),
        (Bernstein, {"degree": 101}, "degree is 101; expected a whole number from 2 to 100"),
        (Bernstein, {"bound": float("nan")}, "bound is nan; expected a positive"),
    ],
)
def test_mistakes_are_named(kind: type, settings: dict, message: str):
    """Catches settings for which there is no map, or one that overflows."""
    with pytest.raises(ValueError, match=message):
        kind(**settings)
