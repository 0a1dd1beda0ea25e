"""Mixture distribution functions against plain numpy, far out, and under gradient steps."""

import contextlib
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.gradients import numbers_kept, with_gradients
from jax import Array
from scipy import optimize, special, stats

from flowjax_lite.transformers import LogisticMixture, NormalMixture
from flowjax_lite.transformers import mixture as module
from flowjax_lite.transformers.mixture import AbstractMixture

MIXTURES = [NormalMixture, LogisticMixture]
every_mixture = pytest.mark.parametrize("mixture", MIXTURES)
# Of one component: the logarithms of its distribution function and density, and F₀'s settings.
PARTS: dict[type, tuple[Callable, Callable, float, float]] = {
    NormalMixture: (special.log_ndtr, stats.norm.logpdf, 0.6, 0.8),
    LogisticMixture: (special.log_expit, stats.logistic.logpdf, 0.5, 0.5),
}


def plain(
    mixture: type[AbstractMixture], num_components: int, params: np.ndarray, y: float
) -> tuple[float, float]:
    """x and log ∂x/∂y of one number, written from the definition, with min_slope of 0.001."""
    log_cdf, log_density, offset, scale = PARTS[mixture]
    k = num_components
    side = np.arange(k) % 2
    gains = 0.5 + np.arange(k) / (k - 1)
    weights = np.exp(7 * np.tanh(params[:k] / 7)) / np.where(side, side.sum(), (1 - side).sum())
    log_weights = np.log(weights / weights.sum())
    locations = offset * (2 * side - 1) + 100 * np.tanh(gains * params[k : 2 * k] / 100)
    scales = scale * np.exp(5 * np.tanh(gains * params[2 * k : 3 * k] / 5))
    start = np.log([0.5, 0.5]), np.array([-offset, offset]), np.full(2, scale)

    def log_f(y: float, parts: tuple, sign: int) -> float:
        log_weights, locations, scales = parts
        return special.logsumexp(log_weights + log_cdf(sign * (y - locations) / scales))

    def log_slope(y: float, parts: tuple) -> float:
        log_weights, locations, scales = parts
        terms = log_weights + log_density((y - locations) / scales) - np.log(scales)
        return special.logsumexp(terms)

    parts = log_weights, locations, scales
    sign = 1 if log_f(y, parts, 1) < np.log(0.5) else -1
    target = log_f(y, parts, sign)
    x = optimize.brentq(
        lambda x: sign * (log_f(x, start, sign) - target), -1e5, 1e5, xtol=1e-14, rtol=1e-14
    )
    slope = 0.001 + 0.999 * np.exp(log_slope(y, parts) - log_slope(x, start))
    x, log_det = 0.001 * y + 0.999 * x, np.log(slope)
    if mixture is LogisticMixture:
        s = 5 * np.tanh(params[-1] / 5)
        return x * np.exp(s) + params[-2], log_det + s
    return x, log_det


@every_mixture
@pytest.mark.parametrize("num_components", [2, 5])
def test_agrees_with_plain_numpy(mixture: type[AbstractMixture], num_components: int, x64: None):
    """Catches a wrong formula, parameters in another order, and tails that lose digits."""
    transformer, rng = mixture(num_components), np.random.default_rng(0)
    y = np.concatenate([rng.uniform(-6, 6, 60), [30.0, -30.0, 99.0, -99.0]])
    params = rng.normal(size=(transformer.num_params, y.size))
    x, log_det = jax.jit(transformer.inverse_and_log_det)(jnp.asarray(params), jnp.asarray(y))
    expected = np.array(
        [plain(mixture, num_components, p, v) for p, v in zip(params.T, y, strict=True)]
    )
    np.testing.assert_allclose(x, expected[:, 0], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(log_det, expected[:, 1], rtol=0, atol=1e-10)


@every_mixture
def test_tails(mixture: type[AbstractMixture], dtype: np.dtype):
    """Catches tails that jump, bend, or turn infinity into NaN."""
    transformer = mixture(3)
    draw = np.random.default_rng(0).normal(size=(transformer.num_params, 1))
    y = jnp.asarray([-np.inf, -1e30, -300.0, -200.0, -100.0, 100.0, 200.0, 300.0, 1e30, np.inf])
    y = y.astype(dtype)
    params = jnp.asarray(np.tile(draw, 10), dtype)
    x, log_det = jax.jit(transformer.inverse_and_log_det)(params, y)
    np.testing.assert_array_equal(x[jnp.array([0, -1])], [-np.inf, np.inf])
    for tail in (slice(0, 5), slice(5, 10)):
        np.testing.assert_allclose(log_det[tail], log_det[tail][0], rtol=1e-6)
    rounding = 32 * jnp.finfo(dtype).eps
    steps = jnp.diff(x)[jnp.array([2, 3, 5, 6])]
    np.testing.assert_allclose(
        steps, 100 * jnp.exp(log_det[jnp.array([2, 3, 6, 7])]), rtol=rounding
    )


@every_mixture
@pytest.mark.parametrize("size", [30.0, 1e3, 1e20])
def test_extreme_parameters(mixture: type[AbstractMixture], size: float):
    """Catches scales that overflow, as a network emits them for an outlier in its input."""
    transformer, rng = mixture(3), np.random.default_rng(0)
    y = jnp.asarray(rng.uniform(-4, 4, size=40), jnp.float32)
    params = jnp.asarray(rng.choice([-size, 0.0, size], (transformer.num_params, 40)), jnp.float32)
    results = jax.jit(with_gradients, static_argnums=0)
    for function in (transformer.forward_and_log_det, transformer.inverse_and_log_det):
        for result in results(function, params, y):
            assert jnp.all(jnp.isfinite(result))


def trained(transformer: AbstractMixture) -> tuple[float, Array]:
    """The gain in nats over a normal, and the parameters, after 200 steps on two peaks.

    The data have zero mean and unit variance, and are symmetric.
    """
    quantiles = stats.norm.ppf((np.arange(100) + 0.5) / 100) / 4
    data = np.concatenate([quantiles - 1, quantiles + 1])
    y = jnp.asarray(data / data.std())

    def loss(params: Array) -> Array:
        columns = jnp.broadcast_to(params[:, None], (params.size, y.size))
        x, log_det = transformer.inverse_and_log_det(columns, y)
        return jnp.mean(0.5 * x**2 - log_det)

    optimizer = optax.adam(0.02)

    def step(carry: tuple, _: None) -> tuple[tuple, Array]:
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), value

    @jax.jit
    def train(params: Array) -> tuple[Array, Array]:
        (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), length=200)
        return 0.5 - losses[-1], params

    gain, params = train(jnp.zeros(transformer.num_params))
    return float(gain), params


def smallest_gap(params: Array) -> float:
    """The smallest difference between two of four components in any kind of parameter."""
    kinds = params[:12].reshape(3, 4)
    return float(jnp.min(jnp.abs(kinds[:, :, None] - kinds[:, None]) + jnp.eye(4)[None]))


@contextlib.contextmanager
def changed_constants(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Patch what traced functions hold as constants: they are forgotten before and afterwards."""
    jax.clear_caches()
    try:
        with monkeypatch.context() as changed:
            yield changed
    finally:
        jax.clear_caches()


@every_mixture
def test_components_part(
    mixture: type[AbstractMixture], monkeypatch: pytest.MonkeyPatch, x64: None
):
    """Catches components that stay equal, as they do in the twin, whose gains are."""
    gain, params = trained(mixture(4))
    assert gain > 0.6 and smallest_gap(params) > 1e-3
    with changed_constants(monkeypatch) as changed:
        changed.setattr(module, "_LOWEST_GAIN", 1.0)
        changed.setattr(module, "_HIGHEST_GAIN", 1.0)
        assert smallest_gap(trained(mixture(4))[1]) < 1e-5


def test_the_start_is_no_saddle(monkeypatch: pytest.MonkeyPatch, x64: None):
    """Catches an identity that two peaks cannot be told from, as in the twin without a pair.

    In float32 rounding, which Adam makes as large as any gradient, may find a way from a saddle.
    """
    assert trained(NormalMixture(4))[0] > 0.6
    with changed_constants(monkeypatch) as changed:
        changed.setattr(NormalMixture, "_OFFSET", 0.0)
        assert trained(NormalMixture(4))[0] < 0.01


@every_mixture
def test_a_gradient_keeps_the_parameters(
    mixture: type[AbstractMixture], monkeypatch: pytest.MonkeyPatch
):
    """Catches numbers of each component that are kept until a backward pass."""
    transformer = mixture(5)
    params, y = jnp.full((transformer.num_params, 100), 0.1), jnp.linspace(-2.0, 2.0, 100)

    assert numbers_kept(transformer.inverse_and_log_det, params, y) < 2 * params.size
    plainly = AbstractMixture._mixture_to_pair.__wrapped__
    monkeypatch.setattr(AbstractMixture, "_mixture_to_pair", plainly)
    assert numbers_kept(transformer.inverse_and_log_det, params, y) > 4 * params.size  # the twin


@every_mixture
def test_settings_count(mixture: type[AbstractMixture]):
    """Catches a setting that is accepted and ignored."""
    params = np.zeros(mixture(4).num_params, np.float32)
    # Narrow components far to either side leave no mass at zero.
    params[4:12] = -20.0, 20.0, -20.0, 20.0, -3.0, -3.0, -3.0, -3.0
    for min_slope in (1e-3, 0.1):
        _, log_det = mixture(4, min_slope).inverse_and_log_det(jnp.asarray(params), jnp.zeros(()))
        np.testing.assert_allclose(log_det, np.log(min_slope), rtol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_components": 1}, "num_components is 1; expected.*at least 2"),
        ({"min_slope": 0.0}, "min_slope is 0.0; expected"),
        ({"min_slope": 1.0}, "min_slope is 1.0; expected"),
    ],
)
@every_mixture
def test_mistakes_are_named(mixture: type[AbstractMixture], settings: dict, message: str):
    """Catches a setting that makes the mixture impossible."""
    with pytest.raises(ValueError, match=message):
        mixture(**settings)
