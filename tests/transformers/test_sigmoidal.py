"""Deep sigmoids: what they can represent, and what their units do."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array
from jax.scipy.stats import norm

from flowjax_lite.transformers import AbstractTransformer, DeepDenseSigmoid, DeepSigmoid
from flowjax_lite.transformers import sigmoidal as module

TWO_MODES = np.concatenate([np.random.default_rng(0).normal(side, 0.3, 400) for side in (-1, 1)])


def loss(transformer: AbstractTransformer, params: Array, y: Array) -> Array:
    """Mean negative log-likelihood of numbers under a standard normal base."""
    spread = jnp.broadcast_to(params[:, None], (len(params), len(y)))
    x, log_det = transformer.inverse_and_log_det(spread, y)
    return -jnp.mean(norm.logpdf(x) + log_det)


def trained(transformer: AbstractTransformer, steps: int) -> tuple[Array, Array]:
    """Parameters and loss after some steps from zero on a density with two modes."""
    y, optimizer = jnp.asarray(TWO_MODES), optax.adam(0.05)

    def step(carry: tuple, _: None) -> tuple[tuple, Array]:
        params, state = carry
        value, gradient = jax.value_and_grad(lambda p: loss(transformer, p, y))(params)
        updates, state = optimizer.update(gradient, state)
        return (params + updates, state), value

    params = jnp.zeros(transformer.num_params)
    run = jax.jit(lambda c: jax.lax.scan(step, c, length=steps))
    (params, _), losses = run((params, optimizer.init(params)))
    return params, losses


@pytest.mark.parametrize("transformer", [DeepSigmoid(4), DeepDenseSigmoid(4)], ids=str)
def test_two_modes_are_learned(transformer: AbstractTransformer):
    """Catches units that are equal at parameters of zero and stay so: one unit is affine."""
    _, losses = trained(transformer, 200)
    y = TWO_MODES
    gaussian = 0.5 * np.log(2 * np.pi * np.e * y.var())
    truth = -np.mean(np.log(0.5 * (norm.pdf(y, -1, 0.3) + norm.pdf(y, 1, 0.3))))
    assert losses[-1] < truth + 0.05 < gaussian - 0.2
    _, of_one_unit = trained(DeepSigmoid(1), 200)  # the twin
    assert of_one_unit[-1] > gaussian - 0.1


def smallest_gap(transformer: AbstractTransformer) -> float:
    """The smallest distance between two units of the first layer after 30 steps from zero."""
    params, _ = trained(transformer, 30)
    units = params[:12].reshape(3, 4)  # log-slopes, offsets, and one row of weights
    gaps = jnp.max(jnp.abs(units[:, :, None] - units[:, None]), axis=0)
    return float(jnp.min(gaps + jnp.eye(4)))


@pytest.mark.parametrize("transformer", [DeepSigmoid(4), DeepDenseSigmoid(4)], ids=str)
def test_units_part(transformer: AbstractTransformer, monkeypatch: pytest.MonkeyPatch):
    """Catches two units that stay equal, as all do in the twin, whose gains are."""
    assert smallest_gap(transformer) > 1e-2
    monkeypatch.setattr(module, "_gains", np.ones)
    assert smallest_gap(transformer) < 1e-5


@pytest.mark.parametrize("transformer", [DeepSigmoid(3), DeepDenseSigmoid(3)], ids=str)
def test_tails_are_linear(transformer: AbstractTransformer, dtype: np.dtype):
    """Catches logits that saturate: far out, x grows in proportion to y."""
    rng = np.random.default_rng(0)
    params = jnp.asarray(rng.normal(size=(transformer.num_params, 1)), dtype)
    y = jnp.asarray([-400.0, -300.0, -200.0, 200.0, 300.0, 400.0], dtype)
    inverse = jax.jit(transformer.inverse_and_log_det)
    x, log_slope = inverse(jnp.tile(params, (1, len(y))), y)
    for tail in (slice(0, 3), slice(3, 6)):
        np.testing.assert_allclose(jnp.diff(x[tail]) / 100, jnp.exp(log_slope[tail][1:]), rtol=1e-4)
        np.testing.assert_allclose(log_slope[tail], log_slope[tail][0], rtol=1e-5)


def test_one_dense_layer_is_a_deep_sigmoid():
    """Catches layers whose parameters are laid out or mixed differently."""
    dense, plain = DeepDenseSigmoid(5, num_layers=1), DeepSigmoid(5)
    assert dense.num_params == plain.num_params == 15
    params = jnp.asarray(np.random.default_rng(0).normal(size=(15, 4)))
    y = jnp.linspace(-2, 2, 4)
    for actual, expected in zip(
        dense.inverse_and_log_det(params, y), plain.inverse_and_log_det(params, y), strict=True
    ):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("kind", [DeepSigmoid, DeepDenseSigmoid])
def test_mistakes_are_named(kind: type[AbstractTransformer]):
    """Catches settings that make no map."""
    with pytest.raises(ValueError, match="num_units is 0"):
        kind(0)
    with pytest.raises(ValueError, match="num_layers is 0"):
        kind(num_layers=0)
    with pytest.raises(TypeError, match=r"num_units is 2\.5"):
        kind(2.5)
