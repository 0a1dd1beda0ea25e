"""Precision of products: what is rounded, to how many digits, and what never is."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import input_dim, randomised
from battery.registry import BIJECTORS, CONDITIONERS, made, mlp
from flax import nnx
from helpers.programs import equations
from jax import lax

from flowjax_lite import bijectors as b
from flowjax_lite.conditioners import COMPUTE_DTYPES, MADE, MLP
from flowjax_lite.distributions import Flow
from flowjax_lite.flows import IMAGES, NAMED, dequantizer
from flowjax_lite.numerics.product import product, product_of_rows

EPS = {"float32": 2.0**-24, "tensorfloat32": 2.0**-24, "bfloat16": 2.0**-9}  # on CPU
DIM = 6
# Their two directions do not evaluate networks alike; a solver takes other steps back.
LOSSY = ("maf", "iaf", "naf", "unaf", "sos", "bernstein", "bnaf", "residual")
LOSSY += ("ffjord", "rnode", "cnf")


@pytest.mark.parametrize("multiply", [product, product_of_rows])
@pytest.mark.parametrize("compute_dtype", COMPUTE_DTYPES)
def test_factors_are_rounded_and_sums_are_not(compute_dtype: str, multiply: Callable):
    """Catches a product in another precision than was asked for, or sums of few digits."""
    a, b = np.random.default_rng(0).normal(size=(2, 200, 200)).astype(np.float32)
    result = multiply(jnp.asarray(a), jnp.asarray(b), compute_dtype)
    assert result.dtype == jnp.float32
    error = np.abs(np.asarray(result, np.float64) - a.astype(float) @ b.astype(float))
    unit = EPS[compute_dtype] * np.sqrt(200)
    assert 0.1 * unit < error.mean() < 10 * unit
    if compute_dtype == "bfloat16":
        rounded = [np.asarray(jnp.asarray(m).astype(jnp.bfloat16), float) for m in (a, b)]
        np.testing.assert_allclose(result, rounded[0] @ rounded[1], atol=1e-4)


def test_products_of_rows_have_the_derivatives_of_products(x64: None):
    """Catches an axis, or a factor, that is taken for another one in some mode."""
    rng = np.random.default_rng(0)
    rows, matrix, rows_dot, matrix_dot, other = (
        jnp.asarray(rng.normal(size=shape))
        for shape in ((3, 4, 2), (2, 5), (3, 4, 2), (2, 5), (2, 5))
    )

    def all_modes(multiply: Callable) -> dict[str, Any]:
        def loss(rows: jax.Array, matrix: jax.Array) -> jax.Array:
            y = jax.vmap(lambda rows: multiply(rows, matrix, "float32"))(rows)
            return jnp.sum(jnp.sin(y))

        def gradient(rows: jax.Array, matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
            return jax.grad(loss, argnums=(0, 1))(rows, matrix)

        inputs, tangents = (rows, matrix), (rows_dot, matrix_dot)
        pair = jnp.stack([matrix, other], axis=1)
        return {
            "forward": jax.jvp(loss, inputs, tangents),
            "reverse": gradient(*inputs),
            "second order": jax.jvp(gradient, inputs, tangents),
            "gradients by event": jax.vmap(gradient, in_axes=(0, None))(rows[:, None], matrix),
            "an ensemble": jax.vmap(gradient, in_axes=(None, 1))(rows, pair),
            "events on another axis": jax.vmap(gradient, in_axes=(2, 1))(
                jnp.stack([rows, rows_dot], axis=2), pair
            ),
        }

    ours, expected = (jax.jit(all_modes, static_argnums=0)(f) for f in (product_of_rows, product))
    for mode, values in expected.items():
        for one, wanted in zip(jax.tree.leaves(ours[mode]), jax.tree.leaves(values), strict=True):
            np.testing.assert_allclose(one, wanted, rtol=1e-12, atol=1e-12, err_msg=mode)


@pytest.mark.parametrize("shape", [(0, 4, 2), (3, 0, 2)])
def test_there_may_be_no_rows(shape: tuple[int, int, int]):
    """Catches a length that cannot be told from no numbers."""
    y = jax.vmap(lambda rows: product_of_rows(rows, jnp.ones((2, 5)), "float32"))(jnp.ones(shape))
    assert y.shape == (*shape[:2], 5)


def test_the_gradient_by_a_matrix_sums_over_one_axis():
    """Catches the sum over events and rows that is slow on CPU; `product` has it."""

    def most_axes(multiply: Callable) -> int:
        def loss(matrix: jax.Array, rows: jax.Array) -> jax.Array:
            return jnp.sum(jnp.sin(jax.vmap(lambda rows: multiply(rows, matrix, "float32"))(rows)))

        found = equations(jax.grad(loss), jnp.ones((2, 5)), jnp.ones((3, 4, 2)))
        products = [each for each in found if each.primitive.name == "dot_general"]
        return max(len(each.params["dimension_numbers"][0][0]) for each in products)

    assert most_axes(product_of_rows) == 1
    assert most_axes(product) == 2


@pytest.mark.parametrize("name", CONDITIONERS)
def test_default_is_full_precision_on_every_device(name: str):
    """Catches a product that JAX may round to TF32 on GPU or to bfloat16 on TPU."""
    module = CONDITIONERS[name].make(nnx.Rngs(0))
    x = jnp.zeros(input_dim(module))
    condition = None if module.condition_shape is None else jnp.zeros(module.condition_shape)
    check_all_products_are_full(jax.value_and_grad(lambda x: jnp.sum(module(x, condition))), x)


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("direction", ["forward_and_log_det", "inverse_and_log_det"])
def test_no_flow_rounds_in_secret(name: str, direction: str):
    """Catches the same in a linear layer or in the steps of a sequential direction."""
    flow = NAMED[name](dim=DIM, condition_dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))

    def score(x: jax.Array) -> jax.Array:
        y, log_det = getattr(flow.bijector, direction)(x, jnp.zeros(2))
        return jnp.sum(y) + log_det

    assert "bf16" not in check_all_products_are_full(jax.grad(score), jnp.zeros(DIM))


@pytest.mark.parametrize("name", ["PLU", "Triangular", "Linear", "QR", "Rotation", "Channelwise"])
def test_no_linear_map_rounds_in_secret(name: str):
    """Catches the same in a matrix decomposition, or in the derivatives of one."""
    graph, params, rest = nnx.split(BIJECTORS[name].make(nnx.Rngs(0)), nnx.Param, ...)

    def score(params: nnx.State) -> jax.Array:
        module = nnx.merge(graph, params, rest)
        x = jnp.ones(module.event_shape)
        y, log_det = module.forward_and_log_det(x)
        back, back_log_det = module.inverse_and_log_det(x)
        return jnp.sum(y) + jnp.sum(back) + log_det - 2 * back_log_det

    check_all_products_are_full(jax.value_and_grad(score), params)


def check_all_products_are_full(function: Callable, x: Any) -> str:
    """Look at every product of a program, and return it."""
    program = str(jax.make_jaxpr(function)(x))
    names = "dot_general", "conv_general_dilated"
    products = [each for each in equations(function, x) if each.primitive.name in names]
    assert products
    for each in products:
        assert each.params["precision"] == (lax.Precision.HIGHEST,) * 2, each
    return program


def test_a_product_of_jax_itself_would_be_noticed():
    """The twin: catches a check that any product passes."""
    with pytest.raises(AssertionError):
        check_all_products_are_full(lambda x: jnp.ones((3, 3)) @ x, jnp.zeros(3))


@pytest.mark.parametrize("make", [functools.partial(mlp, network=MLP), made])
def test_an_unknown_precision_is_named(make):
    """Catches a misspelt precision that is taken for the default."""
    with pytest.raises(ValueError, match="compute_dtype is 'float16'; expected one of 'float32'"):
        make(nnx.Rngs(0), compute_dtype="float16")


@pytest.mark.parametrize("name", NAMED)
def test_every_flow_hands_the_precision_on(name: str):
    """Catches a setting that a family ignores; by default nothing is in half precision."""
    settings = {"dim": DIM, "condition_dim": 2, "num_layers": 2, "hidden": (8,)}
    flow = NAMED[name](**settings, compute_dtype="bfloat16", rngs=nnx.Rngs(0))
    program = jax.jit(flow.log_prob).lower(jnp.zeros((1, DIM)), jnp.zeros((1, 2))).as_text()
    assert any("bf16" in line for line in program.splitlines() if "dot" in line)


def image_flow(name: str, compute_dtype: str) -> Flow:
    """A small image flow with a condition, or the flow of its noise, which sees an image."""
    rngs = nnx.Rngs(0)
    if name == "dequantizer":
        return dequantizer((4, 4, 1), channels=4, compute_dtype=compute_dtype, rngs=rngs)
    settings = {"image_shape": (4, 4, 1), "condition_dim": 2, "num_layers": 1}
    settings |= {"channels": 4} if name in AT_SCALES else {"patch_size": 2, "width": 8}
    return IMAGES[name](**settings, compute_dtype=compute_dtype, rngs=rngs)


AT_SCALES = ("realnvp_image", "glow", "flowpp_image")


@pytest.mark.parametrize("name", [*IMAGES, "dequantizer"])
def test_every_image_flow_hands_the_precision_on(name: str):
    """Catches a convolution, or a product with a condition, of another precision than asked for."""

    def kinds(compute_dtype: str) -> dict[str, set[str]]:
        """The types and precisions of factors, by operation."""
        flow = image_flow(name, compute_dtype)
        x, given = jnp.full((1, 4, 4, 1), 0.5), jnp.zeros((1, *flow.condition_shape))
        found: dict[str, set[str]] = {"conv_general_dilated": set(), "dot_general": set()}
        for each in equations(flow.log_prob, x, given):
            if each.primitive.name in found:
                precision = each.params["precision"]
                kind = f"{each.invars[1].aval.dtype} {precision and precision[0].name}"
                found[each.primitive.name].add(kind)
        return found

    full, fast, half = (kinds(compute_dtype) for compute_dtype in COMPUTE_DTYPES)
    convolutions, products = "conv_general_dilated", "dot_general"
    if name in (*AT_SCALES, "dequantizer"):  # every one, and the products with a condition
        assert full[convolutions] == {"float32 HIGHEST"}
        assert fast[convolutions] == {"float32 HIGH"}
        assert half[convolutions] == {"bfloat16 HIGHEST"}
    if name != "dequantizer":  # products within attention and linear maps stay as they are
        assert full[products] == {"float32 HIGHEST"}
        assert fast[products] >= {"float32 HIGH"}
        assert half[products] >= {"bfloat16 None"}


# One for each kind of network, and of what is done with its output.
KINDS = ("realnvp", "maf", "nsf_coupling", "naf", "bnaf", "residual", "planar", "cnf")


@pytest.mark.parametrize("name", KINDS)
def test_bfloat16_networks(name: str):
    """Catches parameters, results or log-determinants of few digits, and a lossy round trip.

    The network differs from that of float32 by its rounding, but the density is that of its
    own map: the round trip and the log-determinants of both directions agree to float32 where
    both evaluate the network alike, and to a few roundings of bfloat16 where one is sequential,
    or looks for a fixed point, with products in full, or where a solver meets the velocity at
    other points, between which rounding makes it jump.
    There is a condition, without which some flows have no network.
    """
    settings = {"dim": DIM, "condition_dim": 2, "num_layers": 3, "hidden": (32,)}
    if name in ("ffjord", "rnode", "cnf"):  # no solver holds 1e-7 along a velocity that jumps
        settings |= {"rtol": 1e-5, "atol": 1e-5}

    def build(compute_dtype: str) -> b.AbstractBijector:
        flow = NAMED[name](**settings, compute_dtype=compute_dtype, rngs=nnx.Rngs(0))
        return randomised(flow, scale=0.05).bijector

    bijector, full = build("bfloat16"), build("float32")
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(bijector, nnx.Param))} == {
        jnp.dtype("float32")
    }
    z = jax.random.normal(jax.random.key(0), (20, DIM))
    condition = jax.random.uniform(jax.random.key(1), (20, 2))

    @jax.jit
    def evaluate(bijector: b.AbstractBijector) -> tuple:
        x, log_det = jax.vmap(bijector.forward_and_log_det)(z, condition)
        back = jax.vmap(bijector.inverse_and_log_det)(x, condition)
        return x, log_det, *back, *jax.vmap(bijector.inverse_and_log_det)(z, condition)

    x, log_det, back, back_log_det, *inverse = evaluate(bijector)
    *_, expected, expected_log_det = evaluate(full)
    assert x.dtype == log_det.dtype == jnp.float32
    assert 1e-5 < jnp.max(jnp.abs(inverse[0] - expected)) < 3e-2
    assert jnp.max(jnp.abs(inverse[1] - expected_log_det)) < 3e-2
    lossy = "autoregressive" in name or name in LOSSY
    tolerance = 5e-3 if lossy else 1e-5
    np.testing.assert_allclose(back, z, atol=tolerance)
    np.testing.assert_allclose(back_log_det, -log_det, atol=tolerance)


def test_bfloat16_trains(x64: None):
    """Catches gradients that are lost by rounding: they are those of float64 to two digits."""

    def gradient(compute_dtype: str) -> np.ndarray:
        network = randomised(
            MADE(DIM, num_params=2, hidden=(64,), compute_dtype=compute_dtype, rngs=nnx.Rngs(0))
        )
        graph, params, rest = nnx.split(network, nnx.Param, ...)
        x = jax.random.normal(jax.random.key(0), (50, DIM))

        def loss(params: nnx.State) -> jax.Array:
            return jnp.mean(jax.vmap(nnx.merge(graph, params, rest))(x) ** 2)

        return np.concatenate([g.ravel() for g in jax.tree.leaves(jax.grad(loss)(params))])

    actual, expected = gradient("bfloat16"), gradient("float32")
    assert 1e-6 < np.linalg.norm(actual - expected) / np.linalg.norm(expected) < 1e-2
