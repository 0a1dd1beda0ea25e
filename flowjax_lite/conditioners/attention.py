"""Causal attention: the parameters of a token from the tokens before it."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from flowjax_lite.conditioners.causal import AbstractCausal
from flowjax_lite.conditioners.mlp import Dense, condition_shape
from flowjax_lite.conditioners.product import check_compute_dtype
from flowjax_lite.core.checks import (
    Shape,
    check_condition,
    check_event,
    check_positive_int,
    default_dtype,
)

_SMALL = 0.02  # standard deviation of places and of the start token, at first
_EXPANSION = 4  # of a token's dense layers


class CausalTransformer(AbstractCausal):
    """A transformer over tokens (tokens, features), whose output i sees the tokens before i.

    The sequence is moved on by one: a learned start token comes first, and the last token is never
    read. Evaluated step by step, each layer keeps its keys and values, so that a step reads one
    token and attends to what is kept. The last layer starts at zero, so the flow around it starts
    as the identity.

    Vaswani et al., 2017, arXiv:1706.03762, with norms before each layer; in flows Zhai et al.,
    2024, arXiv:2412.06329, section 3.
    """

    def __init__(
        self,
        token_shape: Shape,
        *,
        num_params: int,
        width: int = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        condition_dim: int | None = None,
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Build the layers.

        Args:
            token_shape: (tokens, features).
            num_params: number of outputs for each feature.
            width: of the activations of a token, a multiple of num_heads.
            num_layers: number of layers, each of attention and of two dense layers.
            num_heads: number of heads of an attention.
            condition_dim: length of the condition, which is added to every token; None for none.
            compute_dtype: of products with weights: "float32", "tensorfloat32" or "bfloat16"; see
                `check_compute_dtype`.
            rngs: source of the initial weights.

        Raises:
            ValueError: token_shape is no pair of lengths, or width no multiple of num_heads.
        """
        if isinstance(token_shape, int) or len(token_shape) != 2:
            raise ValueError(f"token_shape is {token_shape!r}; expected (tokens, features)")
        tokens, features = (check_positive_int(n, "a length in token_shape") for n in token_shape)
        if check_positive_int(width, "width") % check_positive_int(num_heads, "num_heads"):
            raise ValueError(f"width is {width}; expected a multiple of num_heads, {num_heads}")
        self.in_shape: Shape = (tokens, features)
        self.num_params = check_positive_int(num_params, "num_params")
        self.condition_shape = condition_shape(condition_dim)
        options: dict[str, Any] = {
            "compute_dtype": check_compute_dtype(compute_dtype),
            "rngs": rngs,
        }
        self.embed = Dense(features, width, **options)
        self.by_condition = (
            None if condition_dim is None else Dense(condition_dim, width, **options)
        )
        self.start = nnx.Param(_SMALL * jax.random.normal(rngs.params(), (width,)))
        self.places = nnx.Param(_SMALL * jax.random.normal(rngs.params(), (tokens, width)))
        number = check_positive_int(num_layers, "num_layers")
        self.layers = nnx.List([_Layer(width, num_heads, **options) for _ in range(number)])
        self.norm = _norm(width, rngs)
        self.last = Dense(width, num_params * features, zero=True, **options)

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        x = check_event(x, self.in_shape, "x")
        condition = check_condition(condition, self.condition_shape)
        before = jnp.concatenate([self.start[...][None], jax.vmap(self.embed)(x[:-1])])
        h = before + self._places(range(len(x)), condition)
        for layer in self.layers:
            h = layer(h)
        return jnp.moveaxis(jax.vmap(self._params)(h), 0, 1)

    def no_activations(self) -> Any:
        return tuple(layer.no_keys() for layer in self.layers)

    def begin(
        self, steps: range, x: Array, activations: Any, condition: Array | None = None
    ) -> tuple[Any, Any]:
        number = len(steps)
        before = self.start[...] if steps.start == 0 else self.embed(x[-1])
        fresh = tuple(layer.no_keys(number) for layer in self.layers)
        places = self._places(steps, condition)
        return fresh, (jnp.arange(number), jnp.broadcast_to(before, places.shape), places)

    def step(self, fresh: Any, x: Array, blocks: Any, activations: Any) -> tuple[Any, Array]:
        index, first, place = blocks
        h = jnp.where(index == 0, first, self.embed(x[jnp.maximum(index - 1, 0)])) + place
        kept = []
        for layer, known, new in zip(self.layers, activations, fresh, strict=True):
            h, keys = layer.step(h, known, new, index)
            kept.append(keys)
        return tuple(kept), self._params(h)

    def _places(self, steps: range, condition: Array | None) -> Array:
        """(steps, width), what says where a token stands, and of which condition."""
        places: Array = self.places[...][steps.start : steps.stop]
        if self.by_condition is None or condition is None:
            return places
        return places + self.by_condition(condition.astype(places.dtype))[None]

    def _params(self, h: Array) -> Array:
        """(num_params, features), from the activations (width,) of one token."""
        return self.last(self.norm(h)).reshape(self.num_params, -1)


class _Layer(nnx.Module):
    """Attention to the tokens up to one's own, and dense layers, each added to its input."""

    def __init__(self, width: int, num_heads: int, *, compute_dtype: str, rngs: nnx.Rngs) -> None:
        options: dict[str, Any] = {"compute_dtype": compute_dtype, "rngs": rngs}
        self.shape = num_heads, width // num_heads
        self.norm, self.second_norm = _norm(width, rngs), _norm(width, rngs)
        self.attend = Dense(width, 3 * width, **options)
        self.mix = Dense(width, width, **options)
        self.expand = Dense(width, _EXPANSION * width, **options)
        self.contract = Dense(_EXPANSION * width, width, **options)

    def __call__(self, h: Array) -> Array:
        """(tokens, width), all at once."""
        queries, keys, values = jax.vmap(self._heads)(h)
        scores = _einsum("thd,shd->hts", queries, keys)
        seen = jnp.tril(jnp.ones(scores.shape[1:], bool))[None]
        weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf))
        attended = _einsum("hts,shd->thd", weights, values)
        return jax.vmap(self._added)(h, attended)

    def step(
        self, h: Array, known: Any, fresh: Any, index: Array
    ) -> tuple[Array, tuple[Array, Array]]:
        """(width,) of one token, and the chunk's keys and values with its own.

        Args:
            h: (width,).
            known: keys and values of the chunks before, (tokens, heads, features) each.
            fresh: those of this chunk; those before index are filled in.
            index: the token's place in the chunk.
        """
        query, key, value = self._heads(h)
        keys, values = (
            lax.dynamic_update_index_in_dim(kept, new.astype(kept.dtype), index, 0)
            for kept, new in zip(fresh, (key, value), strict=True)
        )
        number = len(known[0])
        scores = _einsum("hd,shd->hs", query, keys)
        scores = jnp.where(jnp.arange(len(keys))[None] <= index, scores, -jnp.inf)
        before = _einsum("hd,shd->hs", query, known[0])
        weights = jax.nn.softmax(jnp.concatenate([before, scores], axis=1))
        attended = _einsum("hs,shd->hd", weights[:, :number], known[1])
        attended = attended + _einsum("hs,shd->hd", weights[:, number:], values)
        return self._added(h, attended), (keys, values)

    def no_keys(self, number: int = 0) -> tuple[Array, Array]:
        """Room for the keys and values of so many tokens."""
        empty = jnp.zeros((number, *self.shape), default_dtype())
        return empty, empty

    def _heads(self, h: Array) -> tuple[Array, Array, Array]:
        """Query, key and value of each head, (heads, features) each; the query is scaled."""
        query, key, value = self.attend(self.norm(h)).reshape(3, *self.shape)
        return query / math.sqrt(self.shape[1]), key, value

    def _added(self, h: Array, attended: Array) -> Array:
        """What leaves the layer, (width,), of one token."""
        h = h + self.mix(attended.ravel())
        return h + self.contract(jax.nn.gelu(self.expand(self.second_norm(h))))


def _norm(width: int, rngs: nnx.Rngs) -> nnx.LayerNorm:
    precise: Any = {"use_fast_variance": False, "param_dtype": default_dtype()}
    return nnx.LayerNorm(width, **precise, rngs=rngs)


def _einsum(formula: str, a: Array, b: Array) -> Array:
    return jnp.einsum(formula, a, b, precision=lax.Precision.HIGHEST)
