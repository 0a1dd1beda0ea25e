"""Autoregressive layers: each entry, or token, is transformed given those before it."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.conditioners import AbstractCausal
from flowjax_lite.conditioners.masked import chunks
from flowjax_lite.core.checks import check_choice
from flowjax_lite.numerics.fixed_point import triangular_fixed_point
from flowjax_lite.transformers import AbstractTransformer

METHODS = ("cached", "jacobi", "sequential")


class MaskedAutoregressive(AbstractBijector):
    """Transform every entry with parameters made from the entries before it.

    With a network of tokens, an event is (tokens, features), and what is said of entries holds for
    tokens, whose features are transformed at once.

    The inverse, which densities use, takes one pass of the network. The forward direction is
    sequential by nature, yet it costs about one pass too: the network's activations are kept,
    and each step computes only the units whose last input has just arrived. `Invert` of this
    layer makes the inverse autoregressive flow, with fast sampling. The forward direction has
    three methods, of equal results and derivatives:

    - `"cached"`: one step for each entry, together the work of about one pass.
    - `"jacobi"`: passes over all entries at once until nothing changes, at most one for each
      entry. Fewer where entries depend on each other weakly: for many dimensions and few events.
    - `"sequential"`: one pass for each entry, the plain definition.

    MAF: Papamakarios, Pavlakou and Murray, 2017, arXiv:1705.07057, section 3.
    """

    def __init__(
        self,
        transformer: AbstractTransformer,
        conditioner: AbstractCausal,
        *,
        method: str = "cached",
    ) -> None:
        """Join a transformer and a masked network.

        Args:
            transformer: the scalar map.
            conditioner: `MADE`, `ResidualMADE`, or of tokens `CausalTransformer`, with
                num_params=transformer.num_params.
            method: of the forward direction: "cached", "jacobi" or "sequential".

        Raises:
            ValueError: the network's output does not fit the transformer, or method is none of
                the three.
        """
        if conditioner.num_params != transformer.num_params:
            raise ValueError(
                f"the conditioner's num_params is {conditioner.num_params}; "
                f"{type(transformer).__name__} expects {transformer.num_params}"
            )
        self.event_shape = conditioner.in_shape
        self.condition_shape = conditioner.condition_shape
        self.transformer = transformer
        self.conditioner = conditioner
        self.method = check_choice(method, METHODS, "method")

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        if self.method == "cached":
            return self._forward_cached(x, condition)

        def one_pass(y: Array) -> tuple[Array, Array]:
            return self.transformer.forward_and_log_det(self.conditioner(y, condition), x)

        if self.method == "jacobi":
            y = triangular_fixed_point(lambda y: one_pass(y)[0], jnp.zeros_like(x))
        else:
            y, _ = lax.scan(
                lambda y, i: (y.at[i].set(one_pass(y)[0][i]), None),
                jnp.zeros_like(x),
                jnp.arange(len(x)),
            )
        y, log_det = one_pass(y)
        return y, jnp.sum(log_det)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        params = self.conditioner(y, condition)
        x, log_det = self.transformer.inverse_and_log_det(params, y)
        return x, jnp.sum(log_det)

    def _forward_cached(self, x: Array, condition: Array | None) -> tuple[Array, Array]:
        network = self.conditioner
        activations, y, total = network.no_activations(), x[:0], jnp.zeros((), x.dtype)
        for steps in chunks(len(x)):
            begun = network.begin(steps, y, activations, condition)
            fresh, part, log_det = self._forward_chunk(
                x[steps.start : steps.stop], activations, *begun
            )
            activations = jax.tree.map(_join, activations, fresh)
            y, total = _join(y, part), total + log_det
        return y, total

    def _forward_chunk(
        self, x: Array, activations: Any, fresh: Any, blocks: Any
    ) -> tuple[Any, Array, Array]:
        """The steps of one chunk: its activations, its rows of y, and their log-determinant."""

        def step(carry: tuple[Any, Array], inputs: tuple[Any, Array, Array]) -> tuple[Any, Array]:
            fresh, y = carry
            block, index, x_i = inputs
            fresh, params = self.conditioner.step(fresh, y, block, activations)
            y_i, log_det = self.transformer.forward_and_log_det(params, x_i)
            return (fresh, lax.dynamic_update_index_in_dim(y, y_i, index, 0)), log_det

        start, inputs = (fresh, jnp.zeros_like(x)), (blocks, jnp.arange(len(x)), x)
        (fresh, y), log_dets = lax.scan(step, start, inputs)
        return fresh, y, jnp.sum(log_dets)


def _join(known: Array, fresh: Array) -> Array:
    return jnp.concatenate([known, fresh])
