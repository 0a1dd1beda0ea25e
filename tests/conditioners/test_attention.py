"""Causal attention: beside plain loops of numpy, step by step, and what a token may see."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

from flowjax_lite.conditioners import CausalTransformer
from flowjax_lite.conditioners.masked import chunks

TOKENS, FEATURES = 10, 3


def make(num_layers: int = 2, **settings: object) -> CausalTransformer:
    """A small one with random weights."""
    sizes = {"num_params": 2, "width": 6, "num_heads": 2, "num_layers": num_layers}
    options = sizes | {"condition_dim": 2, "rngs": nnx.Rngs(0)} | settings
    return randomised(CausalTransformer((TOKENS, FEATURES), **options))


def test_a_layer_is_the_textbook_one(x64: None):
    """Catches heads that are mixed up, scores without their scale, and a mask off by one."""
    network = make(1)
    x, condition = np.random.default_rng(0).normal(size=(TOKENS, FEATURES)), np.array([0.3, -1.0])
    layer = network.layers[0]

    def dense(part, v):
        return v @ np.asarray(part.kernel[...]) + np.asarray(part.bias[...])

    def norm(part, v):
        centred = v - v.mean()
        scaled = centred / np.sqrt(np.mean(centred**2) + 1e-6)
        return scaled * np.asarray(part.scale[...]) + np.asarray(part.bias[...])

    read = [np.asarray(network.start[...]), *(dense(network.embed, token) for token in x[:-1])]
    places = np.asarray(network.places[...]) + dense(network.by_condition, condition)
    h = [token + place for token, place in zip(read, places, strict=True)]
    heads = [dense(layer.attend, norm(layer.norm, token)).reshape(3, 2, 3) for token in h]
    expected = []
    for i, token in enumerate(h):
        attended = []
        for head in range(2):
            query = heads[i][0, head]
            scores = [query @ heads[j][1, head] / math.sqrt(3) for j in range(i + 1)]
            weights = np.exp(scores) / np.sum(np.exp(scores))
            attended.append(sum(w * heads[j][2, head] for j, w in enumerate(weights)))
        token = token + dense(layer.mix, np.concatenate(attended))
        inner = dense(layer.expand, norm(layer.second_norm, token))
        gelu = inner / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
        token = token + dense(layer.contract, gelu)
        expected.append(dense(network.last, norm(network.norm, token)).reshape(2, FEATURES))
    got = network(jnp.asarray(x), jnp.asarray(condition))
    np.testing.assert_allclose(got, np.stack(expected, axis=1), rtol=1e-9)


def test_steps_give_what_one_pass_gives(x64: None):
    """Catches keys that are lost between chunks, and a step that reads a token too far."""
    network, condition = make(), jnp.array([0.3, -1.0])
    x = jax.random.normal(jax.random.key(0), (TOKENS, FEATURES))
    activations, columns = network.no_activations(), []
    for steps in chunks(TOKENS):
        tokens = x[steps.start : steps.stop]
        fresh, blocks = network.begin(steps, x[: steps.start], activations, condition)
        for i in range(len(steps)):
            known = jnp.where(
                jnp.arange(len(steps))[:, None] < i, tokens, 1e3
            )  # the rest is nonsense
            block = jax.tree.map(lambda stacked, i=i: stacked[i], blocks)
            fresh, params = network.step(fresh, known, block, activations)
            columns.append(params)
        activations = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), activations, fresh)
    assert len(chunks(TOKENS)) > 2
    at_once = network(x, condition)
    np.testing.assert_allclose(jnp.stack(columns, axis=1), at_once, rtol=1e-10)


def test_a_token_sees_those_before_it_alone():
    """Catches a look at the token itself, or none at the first."""
    network, condition = make(), jnp.zeros(2)
    x = jax.random.normal(jax.random.key(0), (TOKENS, FEATURES))
    slopes = jax.jacobian(lambda x: network(x, condition).sum((0, 2)))(x)  # (outputs, tokens, ...)
    seen = np.abs(slopes).sum(-1) > 0
    np.testing.assert_array_equal(seen, np.tril(np.ones((TOKENS, TOKENS), bool), -1))


def test_it_starts_at_zero_and_settings_are_named():
    """Catches a flow that is not the identity at first, and sizes that fail inside a product."""
    fresh = CausalTransformer((3, 2), num_params=2, width=4, num_heads=2, rngs=nnx.Rngs(0))
    assert np.all(fresh(jnp.ones((3, 2))) == 0)
    with pytest.raises(ValueError, match="width is 6; expected a multiple of num_heads, 4"):
        CausalTransformer((3, 2), num_params=2, width=6, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"token_shape is 3; expected \(tokens, features\)"):
        CausalTransformer(3, num_params=2, rngs=nnx.Rngs(0))
