"""Attention: the parameters of a token from the tokens before it, or from all tokens."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from flowjax_lite.conditioners.base import AbstractConditioner
from flowjax_lite.conditioners.causal import AbstractCausal
from flowjax_lite.conditioners.layer_norm import LayerNorm
from flowjax_lite.conditioners.mlp import Dense, condition_shape
from flowjax_lite.core.checks import (
    Shape,
    check_condition,
    check_event,
    check_positive_int,
    default_dtype,
)
from flowjax_lite.numerics.product import check_compute_dtype
from flowjax_lite.numerics.random import normal
from flowjax_lite.numerics.scalar import elementwise

_EXPANSION = 4  # of a token's dense layers


class AbstractTokenNet(AbstractConditioner):
    """A network over tokens: an embedding with places, layers of attention, and parameters.

    Its last layer starts at zero, so the flow around it starts as the identity.

    Vaswani et al., 2017, arXiv:1706.03762, with norms before each layer.

    Attributes:
        in_shape: (tokens, features) of the input.
        num_params: number of outputs for each feature of the output.
    """

    in_shape: Shape
    num_params: int

    def _build(
        self,
        token_shape: Shape,
        *,
        out_features: int | None = None,  # those of the input
        num_params: int,
        width: int,
        num_layers: int,
        num_heads: int,
        condition_dim: int | None,
        compute_dtype: str,
        rngs: nnx.Rngs,
    ) -> None:
        if isinstance(token_shape, int) or len(token_shape) != 2:
            raise ValueError(f"token_shape is {token_shape!r}; expected (tokens, features)")
        tokens, features = (check_positive_int(n, "a length in token_shape") for n in token_shape)
        self.in_shape = tokens, features
        if out_features is None:
            out_features = features
        check_positive_int(out_features, "out_features")
        if check_positive_int(width, "width") % check_positive_int(num_heads, "num_heads"):
            raise ValueError(f"width is {width}; expected a multiple of num_heads, {num_heads}")
        self.num_params = check_positive_int(num_params, "num_params")
        self.condition_shape = condition_shape(condition_dim)
        options: dict[str, Any] = {
            "compute_dtype": check_compute_dtype(compute_dtype),
            "rngs": rngs,
        }
        self.embed = Dense(features, width, **options)
        # A token, its place and its label, which is one-hot, start at one size: what is added to
        # much larger numbers is learned late, as a norm follows.
        self.by_condition = (
            None if condition_dim is None else Dense(condition_dim, width, unit=True, **options)
        )
        self.places = nnx.Param(normal(rngs.params(), (tokens, width)))
        number = check_positive_int(num_layers, "num_layers")
        self.layers = nnx.List([_Layer(width, num_heads, **options) for _ in range(number)])
        self.norm = LayerNorm(width, rngs=rngs)
        self.last = Dense(width, num_params * out_features, zero=True, **options)

    def _at_once(self, h: Array, seen: Array | None, activations: Any) -> tuple[Any, Array]:
        """Keys and values of each layer, and (num_params, tokens, out_features).

        Args:
            h: (tokens, width), embedded tokens with their places.
            seen: as in `_Layer`.
            activations: of each layer, keys and values of the tokens before these.
        """
        kept = []
        for layer, known in zip(self.layers, activations, strict=True):
            h, keys = layer(h, seen, known)
            kept.append(keys)
        return tuple(kept), jnp.moveaxis(self._params(h), 0, 1)

    def no_activations(self) -> Any:
        """Keys and values of each layer where no token is known."""
        return tuple(layer.no_keys() for layer in self.layers)

    def _places(self, steps: range, condition: Array | None) -> Array:
        """(steps, width), what says where a token stands, and of which condition."""
        places: Array = self.places[...][steps.start : steps.stop]
        if self.by_condition is None or condition is None:
            return places
        return places + self.by_condition(condition.astype(places.dtype))[None]

    def _params(self, h: Array) -> Array:
        """(..., num_params, out_features), from activations (..., width)."""
        return self.last(self.norm(h)).reshape(*h.shape[:-1], self.num_params, -1)


class CausalTransformer(AbstractTokenNet, AbstractCausal):
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
        self._build(
            token_shape,
            num_params=num_params,
            width=width,
            num_layers=num_layers,
            num_heads=num_heads,
            condition_dim=condition_dim,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        self.start = nnx.Param(normal(rngs.params(), (width,)))

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        x = check_event(x, self.in_shape, "x")
        condition = check_condition(condition, self.condition_shape)
        return self.chunk(range(len(x)), x, self.no_activations(), condition)[1]

    def chunk(
        self, steps: range, x: Array, activations: Any, condition: Array | None = None
    ) -> tuple[Any, Array]:
        before = self.embed(x[max(steps.start - 1, 0) : -1])
        if steps.start == 0:
            before = jnp.concatenate([self.start[...][None], before])
        seen = jnp.tril(jnp.ones((len(steps), steps.stop), bool), steps.start)
        return self._at_once(before + self._places(steps, condition), seen, activations)

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


class VisionTransformer(AbstractTokenNet):
    """A transformer over tokens, such as patches of an image, whose outputs see all of them.

    From (tokens, features) to parameters (num_params, tokens, out_features), as a `Coupling` takes
    them. The last layer starts at zero, so the flow around it starts as the identity.

    Dosovitskiy et al., 2021, arXiv:2010.11929, without its token of a class; in flows Kolesnikov,
    Pinto and Tschannen, 2024, arXiv:2412.15129.

    Attributes:
        out_shape: (num_params, tokens, out_features).
    """

    out_shape: Shape

    def __init__(
        self,
        token_shape: Shape,
        *,
        out_features: int,
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
            token_shape: (tokens, features) of the input.
            out_features: features of a token of the output.
            num_params: number of outputs for each of them.
            width: as for `CausalTransformer`, also the following ones.
            num_layers: as there.
            num_heads: as there.
            condition_dim: as there.
            compute_dtype: as there.
            rngs: as there.

        Raises:
            ValueError: token_shape is no pair of lengths, or width no multiple of num_heads.
        """
        self._build(
            token_shape,
            out_features=out_features,
            num_params=num_params,
            width=width,
            num_layers=num_layers,
            num_heads=num_heads,
            condition_dim=condition_dim,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        self.out_shape = (self.num_params, self.in_shape[0], out_features)

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """Map x (tokens, features) and the condition to an array of out_shape."""
        x = check_event(x, self.in_shape, "x")
        condition = check_condition(condition, self.condition_shape)
        h = self.embed(x) + self._places(range(len(x)), condition)
        return self._at_once(h, None, self.no_activations())[1]


class _Layer(nnx.Module):
    """Attention to tokens, and dense layers, each added to its input."""

    def __init__(self, width: int, num_heads: int, *, compute_dtype: str, rngs: nnx.Rngs) -> None:
        options: dict[str, Any] = {"compute_dtype": compute_dtype, "rngs": rngs}
        self.shape = num_heads, width // num_heads
        self.norm, self.second_norm = (LayerNorm(width, rngs=rngs) for _ in range(2))
        self.attend = Dense(width, 3 * width, **options)
        self.mix = Dense(width, width, **options)
        self.expand = Dense(width, _EXPANSION * width, **options)
        self.contract = Dense(_EXPANSION * width, width, **options)

    def __call__(
        self, h: Array, seen: Array | None, known: tuple[Array, Array]
    ) -> tuple[Array, tuple[Array, Array]]:
        """(tokens, width), all at once, and their keys and values.

        Args:
            h: (tokens, width).
            seen: (tokens, known + tokens), whether a token, by row, sees another, by column; None
                where each sees all.
            known: keys and values of tokens before these, (known, heads, features) each.
        """
        queries, *own = self._heads(h)
        keys, values = (jnp.concatenate(pair) for pair in zip(known, own, strict=True))
        scores = _einsum("thd,shd->hts", queries, keys)
        if seen is not None:
            scores = jnp.where(seen[None], scores, -jnp.inf)
        weights = jax.nn.softmax(scores)
        attended = _einsum("hts,shd->thd", weights, values)
        return self._added(h, attended), (own[0], own[1])

    def step(
        self, h: Array, known: Any, fresh: Any, index: Array
    ) -> tuple[Array, tuple[Array, Array]]:
        """(width,) of one token that sees those up to itself, and the chunk's keys and values.

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
        """Query, key and value of each head, (..., heads, features) each; the query is scaled."""
        joined = self.attend(self.norm(h)).reshape(*h.shape[:-1], 3, *self.shape)
        query, key, value = (joined[..., i, :, :] for i in range(3))
        return query / math.sqrt(self.shape[1]), key, value

    def _added(self, h: Array, attended: Array) -> Array:
        """What leaves the layer, (..., width)."""
        h = h + self.mix(attended.reshape(h.shape))
        return h + self.contract(elementwise(jax.nn.gelu, self.expand(self.second_norm(h))))


def _einsum(formula: str, a: Array, b: Array) -> Array:
    return jnp.einsum(formula, a, b, precision=lax.Precision.HIGHEST)
