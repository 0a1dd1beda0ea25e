"""Random arrays: the numbers of `jax.random`, without a program, or drawn as vectors."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.programs import equations

import flowjax_lite as fl
from flowjax_lite.numerics.random import (
    lecun_normal,
    normal,
    permutation,
    rademacher,
    split,
    uniform,
)

SHAPE = 3, 2, 4
DRAWS: dict[str, tuple[Callable, Callable]] = {
    "normal": (lambda key: normal(key, SHAPE), lambda key: jax.random.normal(key, SHAPE)),
    "normal, half": (
        lambda key: normal(key, SHAPE, jnp.float16),
        lambda key: jax.random.normal(key, SHAPE, jnp.float16),
    ),
    "uniform": (
        lambda key: uniform(key, SHAPE, low=-2, high=3),
        lambda key: jax.random.uniform(key, SHAPE, minval=-2, maxval=3),
    ),
    "rademacher": (
        lambda key: rademacher(key, SHAPE, jnp.float32),
        lambda key: jax.random.rademacher(key, SHAPE, jnp.float32),
    ),
    "lecun_normal": (
        lambda key: lecun_normal(key, SHAPE),
        lambda key: nnx.initializers.lecun_normal()(key, SHAPE),
    ),
    # More than two thousand numbers are drawn twice.
    "permutation": (
        lambda key: jnp.asarray(permutation(key, 5000)),
        lambda key: jax.random.permutation(key, 5000),
    ),
    "split": (
        lambda key: jnp.stack([jax.random.key_data(each) for each in split(key, 5)]),
        lambda key: jax.random.key_data(jax.random.split(key, 5)),
    ),
}


# Its floats are those of `jax.random` up to rounding, all other numbers are the same.
BY_NUMPY = ("normal", "lecun_normal")


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_numbers(name: str, dtype: np.dtype):
    """Catches other numbers, or another type, than `jax.random` and flax give for one key."""
    ours, theirs = DRAWS[name]
    keys = jax.random.split(jax.random.key(0), 3)
    expected = jax.vmap(theirs)(keys)
    traced, known = jax.vmap(ours)(keys), jnp.stack([ours(key) for key in keys])
    assert traced.dtype == known.dtype == expected.dtype
    np.testing.assert_array_equal(traced, expected)
    if name in BY_NUMPY:
        tolerance = 20 * jnp.finfo(dtype).eps
        np.testing.assert_allclose(known, expected, rtol=tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(known, expected)


@pytest.mark.parametrize("name", BY_NUMPY)
def test_numpy_draws_all_of_a_range(name: str, dtype: np.dtype):
    """Catches tails that are cut, or bits that are used twice; few numbers would not show it."""
    ours, theirs = {
        "normal": (normal, jax.random.normal),
        "lecun_normal": (lecun_normal, nnx.initializers.lecun_normal()),
    }[name]
    key = jax.random.key(2**32 - 1)
    known, expected = ours(key, (300, 200)), theirs(key, (300, 200))
    # In the tails a number is as precise as the distance of a uniform one from 1.
    atol = 1e-6 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(known, expected, rtol=200 * jnp.finfo(dtype).eps, atol=atol)


@pytest.mark.parametrize("impl", ["rbg", "threefry2x32"])
def test_keys_of_other_kinds(impl: str):
    """Catches numbers of another generator than that of the key."""
    key = jax.random.key(7, impl=impl)
    np.testing.assert_allclose(normal(key, (5,)), jax.random.normal(key, (5,)), rtol=1e-5)
    np.testing.assert_array_equal(permutation(key, 9), jax.random.permutation(key, 9))


def test_building_a_flow_compiles_nothing(compiled: list[str]):
    """Catches an array of a layer that a program of XLA's makes, one for each shape."""

    def build(dim: int) -> None:
        fl.flows.nsf_coupling(dim=dim, hidden=(dim, dim), rngs=nnx.Rngs(0))
        fl.flows.maf(dim=dim, hidden=(dim + 2,), num_layers=dim, rngs=nnx.Rngs(0))
        fl.flows.glow(image_shape=(4, 4, dim), channels=dim, rngs=nnx.Rngs(0))
        fl.flows.tarflow(image_shape=(4, 4, dim), width=4 * dim, rngs=nnx.Rngs(0))

    build(5)
    compiled.clear()
    build(7)
    assert not compiled
    jnp.zeros((7, 5, 3))  # as a layer must not
    assert compiled


def shapes_of(draw: Callable) -> list[tuple[int, ...]]:
    """The shape of each draw of random bits, in a function of a key."""
    found = equations(draw, jax.random.key(0))
    return [each.params["shape"] for each in found if each.primitive.name == "random_bits"]


@pytest.mark.parametrize("family", fl.flows.IMAGES)
def test_bits_of_image_flows_are_vectors(family: str):
    """Catches a draw of several axes, which takes seconds to compile, in building or in use."""
    options = dict(image_shape=(8, 8, 1), num_levels=4)

    def build(key: jax.Array) -> fl.distributions.Dequantized:
        flow = fl.flows.IMAGES[family](**options, rngs=nnx.Rngs(key))
        return fl.distributions.Dequantized(flow, num_levels=4)

    model = build(jax.random.key(0))
    x = jnp.zeros((8, 8, 1))
    shapes = (
        shapes_of(build),
        shapes_of(model.flow.base.sample),
        shapes_of(lambda key: model.dequantized(x, key)),
    )
    for found in shapes:
        assert found
        assert all(len(shape) <= 1 for shape in found), found


def test_several_axes_are_found():
    """The check above sees what it is to find, also where it stands inside of another function."""
    draw = jax.jit(lambda key: jax.vmap(lambda k: jax.random.normal(k, (2, 3)))(key[None])[0])
    assert shapes_of(draw) == [(2, 3)]
