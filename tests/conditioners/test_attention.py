"""Attention: beside plain loops of numpy, step by step, and what a token may see."""

import math
from collections.abc import Callable
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

from flowjax_lite.conditioners import (
    AbstractConditioner,
    CausalTransformer,
    VisionTransformer,
)
from flowjax_lite.conditioners.masked import chunks
from flowjax_lite.conditioners.mlp import Dense

TOKENS, FEATURES, OUT_FEATURES = 10, 3, 2
CONDITION = np.array([0.3, -1.0])


def make(
    network: type[CausalTransformer] | type[VisionTransformer] = CausalTransformer,
    num_layers: int = 2,
) -> CausalTransformer | VisionTransformer:
    """A small one with random weights."""
    options = {"num_params": 2, "width": 6, "num_heads": 2, "num_layers": num_layers}
    if network is VisionTransformer:
        options |= {"out_features": OUT_FEATURES}
    return randomised(
        network((TOKENS, FEATURES), condition_dim=len(CONDITION), **options, rngs=nnx.Rngs(0))
    )


def dense(part: Dense, v: np.ndarray) -> np.ndarray:
    """A dense layer by numpy."""
    return v @ np.asarray(part.kernel[...]) + np.asarray(part.bias[...])


def norm(part: nnx.LayerNorm, v: np.ndarray) -> np.ndarray:
    """A layer norm by numpy."""
    centred = v - v.mean()
    scaled = centred / np.sqrt(np.mean(centred**2) + 1e-6)
    return scaled * np.asarray(part.scale[...]) + np.asarray(part.bias[...])


@pytest.mark.parametrize("network", [CausalTransformer, VisionTransformer])
def test_a_layer_is_the_textbook_one(network: type, x64: None):
    """Catches heads that are mixed up, scores without their scale, and a mask off by one.

    Also a mask where all tokens are to be seen, and parameters in the place of features.
    """
    causal = network is CausalTransformer
    network, x = make(network, 1), np.random.default_rng(0).normal(size=(TOKENS, FEATURES))
    layer = network.layers[0]
    read = [dense(network.embed, token) for token in x]
    if causal:
        read = [np.asarray(network.start[...]), *read[:-1]]
    places = np.asarray(network.places[...]) + dense(network.by_condition, CONDITION)
    h = [token + place for token, place in zip(read, places, strict=True)]
    heads = [dense(layer.attend, norm(layer.norm, token)).reshape(3, 2, 3) for token in h]
    expected = []
    for i, token in enumerate(h):
        attended = []
        for head in range(2):
            query = heads[i][0, head]
            seen = heads[: i + 1] if causal else heads
            scores = [query @ other[1, head] / math.sqrt(3) for other in seen]
            weights = np.exp(scores) / np.sum(np.exp(scores))
            attended.append(sum(w * o[2, head] for w, o in zip(weights, seen, strict=True)))
        token = token + dense(layer.mix, np.concatenate(attended))
        inner = dense(layer.expand, norm(layer.second_norm, token))
        gelu = inner / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
        token = token + dense(layer.contract, gelu)
        expected.append(dense(network.last, norm(network.norm, token)).reshape(2, -1))
    got = network(jnp.asarray(x), jnp.asarray(CONDITION))
    np.testing.assert_allclose(got, np.stack(expected, axis=1), rtol=1e-9)
    assert got.shape == (2, TOKENS, FEATURES if causal else OUT_FEATURES)


def test_steps_and_chunks_give_what_one_pass_gives(x64: None):
    """Catches keys that are lost between chunks, and a step that reads a token too far."""
    network, condition = make(), jnp.asarray(CONDITION)
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
        at_once = network.chunk(steps, x[: steps.stop], activations, condition)
        chex.assert_trees_all_close(
            at_once, (fresh, jnp.stack(columns[steps.start :], axis=1)), rtol=1e-10
        )
        activations = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), activations, fresh)
    assert len(chunks(TOKENS)) > 2
    at_once = network(x, condition)
    np.testing.assert_allclose(jnp.stack(columns, axis=1), at_once, rtol=1e-10)


@pytest.mark.parametrize("network", [CausalTransformer, VisionTransformer])
def test_which_tokens_a_token_sees(network: type):
    """Catches a look at the token itself, or none at the first, where those before are to be seen.

    Also a token that is not seen by all, where all are to be seen.
    """
    x = jax.random.normal(jax.random.key(0), (TOKENS, FEATURES))
    module, condition = make(network), jnp.asarray(CONDITION, jnp.float32)
    slopes = jax.jacobian(lambda x: module(x, condition).sum((0, 2)))(x)  # (outputs, tokens, ...)
    seen, everything = np.abs(slopes).sum(-1) > 0, np.ones((TOKENS, TOKENS), bool)
    expected = np.tril(everything, -1) if network is CausalTransformer else everything
    np.testing.assert_array_equal(seen, expected)


def test_places_are_told_apart():
    """Catches places that are not read: tokens in another order would have equal outputs."""
    network, condition = make(VisionTransformer), jnp.asarray(CONDITION, jnp.float32)
    x = jax.random.normal(jax.random.key(0), (TOKENS, FEATURES))
    turned = network(x[::-1], condition)[:, ::-1]
    assert np.max(np.abs(turned - network(x, condition))) > 1e-2


@pytest.mark.parametrize("network", [CausalTransformer, partial(VisionTransformer, out_features=2)])
def test_it_starts_at_zero_and_settings_are_named(network: Callable[..., AbstractConditioner]):
    """Catches a flow that is not the identity at first, and sizes that fail inside a product."""
    fresh = network((3, 2), num_params=2, width=4, num_heads=2, rngs=nnx.Rngs(0))
    assert np.all(fresh(jnp.ones((3, 2))) == 0)
    with pytest.raises(ValueError, match="width is 6; expected a multiple of num_heads, 4"):
        network((3, 2), num_params=2, width=6, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"token_shape is 3; expected \(tokens, features\)"):
        network(3, num_params=2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="out_features is 0"):
        VisionTransformer((3, 2), out_features=0, num_params=2, rngs=nnx.Rngs(0))
