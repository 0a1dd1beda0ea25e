"""The sequential direction of autoregressive layers against dim full passes of the network."""

import functools
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from battery.registry import SPLINE
from flax import nnx
from jax import Array

from flowjax_lite.bijectors import Invert, MaskedAutoregressive
from flowjax_lite.conditioners import MADE, CausalTransformer, ResidualMADE
from flowjax_lite.transformers import AbstractTransformer, Additive, Affine

DIM = 6  # two chunks of steps
CASES: dict[str, tuple[type, tuple[int, ...], int | None, int | None, AbstractTransformer]] = {
    "plain": (MADE, (8, 8), None, None, Affine()),
    "plain, condition": (MADE, (8, 8), None, 2, Affine()),
    "plain, narrow, condition": (MADE, (3, 2), None, 2, Affine()),
    "plain, random, condition": (MADE, (9, 4), 6, 2, Affine()),
    "residual, condition": (ResidualMADE, (8, 8), None, 2, Affine()),
    "residual, narrow": (ResidualMADE, (3,), None, None, Affine()),
    "residual, random, condition": (ResidualMADE, (9, 9), 6, 2, Affine()),
    "residual, spline": (ResidualMADE, (8,), None, None, SPLINE),
}


def build(case: str, dim: int = DIM, method: str = "cached") -> MaskedAutoregressive:
    """A layer whose every weight is random."""
    network, hidden, seed, condition_dim, transformer = CASES[case]
    conditioner = network(
        dim,
        num_params=transformer.num_params,
        hidden=hidden,
        condition_dim=condition_dim,
        activation="tanh",
        degree_seed=seed,
        rngs=nnx.Rngs(0),
    )
    return randomised(MaskedAutoregressive(transformer, conditioner, method=method), scale=0.7)


def full_passes(
    layer: MaskedAutoregressive, x: Array, condition: Array | None
) -> tuple[Array, Array]:
    """The forward direction, one whole pass of the network for each entry."""

    def one_pass(y: Array, i: Array) -> tuple[Array, Array]:
        image, log_det = layer.transformer.forward_and_log_det(layer.conditioner(y, condition), x)
        return y.at[i].set(image[i]), jnp.sum(log_det)

    # After the last pass, one more sees all entries; it sets the last one to what it is.
    places = jnp.minimum(jnp.arange(x.size + 1), x.size - 1)
    y, log_dets = jax.lax.scan(one_pass, jnp.zeros_like(x), places)
    return y, log_dets[-1]


@pytest.mark.parametrize(
    ("method", "case"),
    [
        *(("cached", case) for case in CASES),
        *(("blocks", case) for case in ("plain, condition", "residual, spline")),
        *(("jacobi", case) for case in ("plain, condition", "residual, spline")),
        *(("sequential", case) for case in ("plain, condition", "residual, spline")),
    ],
)
def test_forward_equals_full_passes(method: str, case: str, x64: None):
    """Catches an activation kept too long or computed too early, in values and gradients."""
    layer = build(case, method=method)
    graph, params, rest = nnx.split(layer, nnx.Param, ...)
    x = jnp.asarray(np.random.default_rng(3).normal(size=DIM))
    condition = None if layer.condition_shape is None else jnp.array([0.3, -0.8])

    @functools.partial(jax.jit, static_argnums=0)
    def evaluate(forward: Callable, params: nnx.State, x: Array, condition: Array | None) -> tuple:
        def scalar(params: nnx.State, x: Array, condition: Array | None) -> tuple:
            y, log_det = forward(nnx.merge(graph, params, rest), x, condition)
            return log_det + jnp.sum(jnp.sin(y)), (y, log_det)

        takes = (0, 1) if condition is None else (0, 1, 2)
        return jax.value_and_grad(scalar, takes, has_aux=True)(params, x, condition)

    actual = evaluate(MaskedAutoregressive.forward_and_log_det, params, x, condition)
    expected = evaluate(full_passes, params, x, condition)
    chex.assert_trees_all_close(actual, expected, rtol=1e-11, atol=1e-12)


def test_jacobian_is_triangular():
    """Catches an entry transformed with itself, or with an entry after it."""
    layer, x = build("plain"), jnp.linspace(-1.0, 1.0, DIM)
    for function in (layer.forward, layer.inverse):
        jacobian = jax.jacfwd(function)(x)
        np.testing.assert_allclose(jacobian, jnp.tril(jacobian), atol=1e-7)
        assert jnp.all(jnp.diag(jacobian) > 0)
        assert jnp.any(jnp.abs(jnp.tril(jacobian, -1)) > 1e-2)


def test_one_dimension():
    """Catches a layer of one entry that needs an entry before it."""
    layer, x, condition = build("plain, condition", dim=1), jnp.array([0.7]), jnp.array([0.3, -0.8])
    shift, raw = layer.conditioner(x, condition)
    expected = x * jnp.exp(5 * jnp.tanh(raw / 5)) + shift
    np.testing.assert_allclose(layer.forward(x, condition), expected, rtol=1e-6)


def test_inverted():
    """Catches an inverse flow whose fast direction is not the network's."""
    layer, x = build("plain"), jnp.linspace(-1.0, 1.0, DIM)
    y, log_det = Invert(layer).forward_and_log_det(x)
    expected, expected_log_det = layer.inverse_and_log_det(x)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(log_det, expected_log_det)


def test_starts_as_the_identity():
    """Catches a last layer that does not start at zero, in either direction."""
    network = MADE(DIM, num_params=2, hidden=(8,), rngs=nnx.Rngs(0))
    layer, x = MaskedAutoregressive(Affine(), network), jnp.linspace(-1.0, 1.0, DIM)
    for y, log_det in (layer.forward_and_log_det(x), layer.inverse_and_log_det(x)):
        np.testing.assert_array_equal(y, x)
        assert log_det == 0


@pytest.mark.parametrize("method", ["cached", "blocks", "jacobi", "sequential"])
def test_gradients_of_samples(method: str, x64: None):
    """Catches gradients of samples that miss what an entry does to the entries after it."""
    layer = build("plain, condition", method=method)
    graph, params, rest = nnx.split(layer, nnx.Param, ...)
    x, conditions = np.random.default_rng(4).normal(size=(2, 5, DIM))
    conditions = jnp.asarray(conditions[:, :2])

    @functools.partial(jax.jit, static_argnums=0)
    def gradient(forward: Callable, params: nnx.State, x: Array, conditions: Array) -> nnx.State:
        def mean(params: nnx.State) -> Array:
            layer = nnx.merge(graph, params, rest)
            y, log_det = jax.vmap(lambda x, c: forward(layer, x, c))(x, conditions)
            return jnp.mean(jnp.sin(y[:, -1])) + jnp.mean(log_det)

        return jax.grad(mean)(params)

    actual = gradient(MaskedAutoregressive.forward_and_log_det, params, x, conditions)
    expected = gradient(full_passes, params, x, conditions)
    chex.assert_trees_all_close(actual, expected, rtol=1e-11, atol=1e-12)


def test_jacobi_does_not_wait_for_the_last_bit():
    """Catches passes that go on because rounding moves the entries after those it has moved.

    Ten passes bring all entries to where only rounding moves them; to the last bit it took 60.
    """
    options = dict(num_params=2, width=16, num_layers=1, num_heads=2, rngs=nnx.Rngs(0))
    network = randomised(CausalTransformer((100, 1), **options), scale=0.1)
    x, passes = jax.random.normal(jax.random.key(0), (100, 1)), []

    class Counted(Affine):
        def forward_and_log_det(self, params: Array, x: Array) -> tuple[Array, Array]:
            jax.debug.callback(lambda: passes.append(1))
            return super().forward_and_log_det(params, x)

    y = jax.jit(MaskedAutoregressive(Counted(), network, method="jacobi").forward)(x)
    jax.effects_barrier()
    assert 10 < len(passes) < 30
    expected = MaskedAutoregressive(Affine(), network).forward(x)
    np.testing.assert_allclose(y, expected, atol=2e-6)


def test_mistakes_are_named():
    """Catches a network with too many or too few outputs, and a method that does not exist."""
    network = MADE(3, num_params=2, hidden=(8,), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="method is 'cache'; expected one of 'cached', 'blocks'"):
        MaskedAutoregressive(Affine(), network, method="cache")
    with pytest.raises(ValueError, match="num_params is 2; Additive expects 1"):
        MaskedAutoregressive(Additive(), network)
