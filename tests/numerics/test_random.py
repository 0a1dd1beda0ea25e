"""Random arrays drawn as vectors: the numbers of `jax.random`, and no bits of several axes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.programs import equations

import flowjax_lite as fl
from flowjax_lite.numerics.random import lecun_normal, normal, rademacher, uniform

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
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_numbers(name: str, dtype: np.dtype):
    """Catches other numbers, or another type, than `jax.random` and flax give for one key."""
    ours, theirs = DRAWS[name]
    keys = jax.random.split(jax.random.key(0), 3)
    for draw in (lambda f: f(keys[0]), lambda f: jax.vmap(f)(keys)):
        got, expected = draw(ours), draw(theirs)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


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
