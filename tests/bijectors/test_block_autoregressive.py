"""Block autoregressive layers: the formula, its triangle, and roots that are not found."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array

from flowjax_lite.bijectors import BlockAutoregressive
from flowjax_lite.conditioners.activations import INCREASING

DIM, HIDDEN = 4, (3, 2)
X = np.random.default_rng(0).normal(size=(5, DIM))
CONDITION = np.array([0.7, -1.2])


def make_layer(scale: float = 1.0, **settings: object) -> BlockAutoregressive:
    """A layer off its start."""
    layer = BlockAutoregressive(DIM, hidden=HIDDEN, rngs=nnx.Rngs(0), **settings)
    return randomised(layer, scale=scale)


@functools.partial(jax.jit, static_argnames="direction")
def each(
    layer: BlockAutoregressive, direction: str, rows: Array, condition: Array | None = None
) -> tuple[Array, Array]:
    """One direction of a layer, for each row."""
    return jax.vmap(lambda row: getattr(layer, direction)(row, condition))(rows)


def plain_activation(name: str, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An activation and its slope, by definition."""
    positive = h > 0
    return {
        "tanh": (np.tanh(h), 1 / np.cosh(h) ** 2),
        "relu": (np.maximum(h, 0), 1.0 * positive),
        "leaky_relu": (np.where(positive, h, 0.01 * h), np.where(positive, 1, 0.01)),
        "elu": (np.where(positive, h, np.expm1(h)), np.where(positive, 1, np.exp(h))),
        "softplus": (np.log1p(np.exp(h)), 1 / (1 + np.exp(-h))),
    }[name]


def plain(
    layer: BlockAutoregressive, name: str, y: np.ndarray, condition: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """x and the Jacobian of the inverse, from full matrices and loops over their blocks."""
    h, jacobian = y, np.eye(DIM)
    last = len(layer.layers) - 1
    for k, linear in enumerate(layer.layers):
        inner, outer = linear.in_width, linear.out_width
        kernel, matrix = np.asarray(linear.kernel[...]), np.zeros((DIM * inner, DIM * outer))
        for i in range(DIM):
            for j in range(i, DIM):
                block = np.s_[i * inner : (i + 1) * inner, j * outer : (j + 1) * outer]
                matrix[block] = kernel[block]
                if i == j:
                    weights = np.exp(10 * np.tanh(kernel[block] / 10))
                    scale = np.exp(5 * np.tanh(np.asarray(linear.raw_scale[i]) / 5))
                    matrix[block] = scale * weights / weights.sum(axis=0)
        h = h @ matrix + np.ravel(linear.bias[...]) + condition @ linear.condition_kernel[...]
        jacobian = matrix.T @ jacobian
        if k < last:
            bend = 0.99 * np.tanh(np.ravel(layer.bends[k][...]) / 0.99)
            bent, slope = plain_activation(name, h)
            h = (1 - bend) * h + bend * bent
            jacobian = (1 - bend + bend * slope)[:, None] * jacobian
    return h, jacobian


@pytest.mark.parametrize("name", INCREASING)
def test_known_values(x64: None, name: str):
    """Catches a mask, a norm, an activation or a logarithm other than those of the formula."""
    layer = make_layer(condition_dim=2, activation=name)
    x, log_det = each(layer, "inverse_and_log_det", jnp.asarray(X), jnp.asarray(CONDITION))
    for row, got, got_log_det in zip(X, x, log_det, strict=True):
        expected, jacobian = plain(layer, name, row, CONDITION)
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(got_log_det, np.sum(np.log(np.diag(jacobian))), atol=1e-10)


@pytest.mark.parametrize("scale", [0.2, 3.0, 100.0])
def test_jacobian_is_triangular_with_a_positive_diagonal(x64: None, scale: float):
    """Catches an entry that sees those after it, and weights or bends that turn a slope."""
    layer = make_layer(scale)
    jacobian = jax.jit(jax.vmap(jax.jacfwd(layer.inverse)))(jnp.asarray(X))
    np.testing.assert_array_equal(np.triu(jacobian, 1), 0.0)
    assert np.all(np.diagonal(jacobian, axis1=1, axis2=2) > 0)
    below = np.tril_indices(DIM, -1)
    assert np.all(jacobian[:, below[0], below[1]] != 0)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_strong_layers_are_inverted(x64: None, scale: float):
    """Catches units of an entry that are not those of the density, one entry after the other."""
    layer = make_layer(scale, condition_dim=2)
    y, condition = jnp.asarray(np.concatenate([X, 100 * X])), jnp.asarray(CONDITION)
    x, log_det = each(layer, "inverse_and_log_det", y, condition)
    back, back_log_det = each(layer, "forward_and_log_det", x, condition)
    # Rounding of x alone, to which strong layers are sensitive, moves y as much.
    jacobian = jax.jit(jax.vmap(jax.jacfwd(lambda y: layer.inverse(y, condition))))(y)
    moved = np.abs(np.linalg.inv(jacobian)) @ np.abs(x)[:, :, None]
    assert np.max(np.abs(back - y) / moved[:, :, 0]) < 10 * np.finfo(float).eps
    np.testing.assert_allclose(back_log_det, -log_det, atol=1e-8)


def test_blocks_above_the_diagonal_are_not_used():
    """Catches weights from entries that come later, in either direction."""
    plain_layer, other = make_layer(), make_layer()
    for linear in other.layers:
        later = np.tril(np.ones((DIM, DIM), bool), -1)  # rows are the entries that are seen
        later = np.kron(later, np.ones((linear.in_width, linear.out_width), bool))
        linear.kernel[...] = jnp.where(later, 1e3, linear.kernel[...])
    for direction in ("forward_and_log_det", "inverse_and_log_det"):
        expected, got = (each(layer, direction, jnp.asarray(X)) for layer in (plain_layer, other))
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_units_part(x64: None):
    """Catches units of an entry that start alike, get equal gradients and stay alike for ever."""
    layer = BlockAutoregressive(2, hidden=(4, 4), rngs=nnx.Rngs(0))
    graph, params, rest = nnx.split(layer, nnx.Param, ...)
    y = jnp.asarray(np.random.default_rng(0).exponential(size=(100, 2)))

    @jax.jit
    def gradient(params: nnx.State) -> nnx.State:
        def loss(params: nnx.State) -> Array:
            x, log_det = jax.vmap(nnx.merge(graph, params, rest).inverse_and_log_det)(y)
            return jnp.mean(0.5 * jnp.sum(x**2, axis=1) - log_det)

        return jax.grad(loss)(params)

    for bends in gradient(params)["bends"].values():
        apart = np.abs(bends[...][:, :, None] - bends[...][:, None, :])
        assert np.all(apart[:, ~np.eye(4, dtype=bool)] > 1e-3)


def test_an_event_without_a_root_is_nan():
    """Catches a wrong event, or a finite log-determinant of one, and good neighbours lost.

    The layer shrinks the way to x a thousandfold and more, and what lies that far out is no
    number; a NaN from outside ends too.
    """
    for name in ("tanh", "relu"):
        layer = make_layer(0.0, activation=name)
        for linear in layer.layers:
            linear.raw_scale[...] = jnp.full_like(linear.raw_scale[...], -10.0)
        x = X.astype(np.float32)
        x[1, -1], x[2, 0], x[4, 1] = 3e38, -3e38, np.nan
        y, log_det = each(layer, "forward_and_log_det", jnp.asarray(x))
        bad = np.array([False, True, True, False, True])
        np.testing.assert_array_equal(np.isnan(y), np.tile(bad[:, None], DIM))
        np.testing.assert_array_equal(np.isnan(log_det), bad)
        without = jnp.asarray(np.where(bad[:, None], 0, x))
        expected, _ = each(layer, "forward_and_log_det", without)
        np.testing.assert_array_equal(y[~bad], expected[~bad])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"dim": 0}, ValueError, "dim is 0"),
        ({"hidden": ()}, ValueError, r"hidden is \(\); expected a tuple of widths"),
        ({"hidden": (3, 0)}, ValueError, "a width in hidden is 0"),
        ({"hidden": (2.0,)}, TypeError, r"a width in hidden is 2\.0"),
        ({"condition_dim": 0}, ValueError, "condition_dim is 0"),
        (
            {"activation": "silu"},
            ValueError,
            r"activation is 'silu'; expected one of 'relu', .*'tan",
        ),
        ({"activation": "lipswish"}, ValueError, "activation is 'lipswish'"),
        ({"compute_dtype": "float16"}, ValueError, "compute_dtype is 'float16'"),
    ],
)
def test_mistakes_are_named(settings: dict, error: type, message: str):
    """Catches a layer of no units, or with an activation that falls somewhere."""
    with pytest.raises(error, match=message):
        BlockAutoregressive(**{"dim": DIM} | settings, rngs=nnx.Rngs(0))
