"""The same kind of layer many times, as a scan over stacked parameters."""

import functools
from collections.abc import Callable
from typing import Any, Literal, Self, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from flowjax_lite.bijectors.base import (
    AbstractBijector,
    Part,
    Renew,
    condition_of,
    split_key,
    with_parts,
)
from flowjax_lite.bijectors.reversible import Apply, reversible_scan
from flowjax_lite.core.checks import check_choice, check_positive_int
from flowjax_lite.core.recipe import Maker, recipe_of
from flowjax_lite.numerics.random import split

Gradient = Literal["store", "recompute", "invert"]
GRADIENTS: tuple[str, ...] = get_args(Gradient)


class Repeat(AbstractBijector):
    """The same kind of layer many times, each time with parameters of its own.

    The layers' parameters are stacked and the layers run in a `scan`: compile time does not
    grow with depth. What a backward pass keeps is a choice:

    - `"store"` keeps what each layer's gradient needs: memory grows with depth and width.
    - `"recompute"` keeps each layer's input and runs the layer again: one event per layer.
    - `"invert"` keeps the last output alone and rebuilds each input by the layer's other
      direction: memory does not grow with depth, but for one number of each event and layer.
      An event whose input cannot be rebuilt, to three quarters of the digits, gets a NaN
      gradient. Choose it where both directions are cheap, as in coupling layers; running
      autoregressive layers back is sequential. It is meant for gradients; other derivatives
      work, at the usual cost.
    """

    def __init__(
        self,
        make_layer: Callable[[nnx.Rngs], AbstractBijector],
        num_layers: int,
        *,
        gradient: str = "store",
        unroll: int = 1,
        rngs: nnx.Rngs,
    ) -> None:
        """Build the layers.

        Args:
            make_layer: builds one layer; it is called for each of num_layers keys, or once where a
                function is traced.
            num_layers: number of layers, at least 1.
            gradient: "store", "recompute" or "invert".
            unroll: how many layers stand in one round of the scan, as in `jax.lax.scan`: with more
                of them small layers run faster, the program takes longer to compile, and
                "recompute" saves less memory, or none.
            rngs: source of each layer's initial state.

        Raises:
            ValueError: num_layers or unroll is below 1, gradient is none of the three, or
                make_layer does not build the same each time.
        """
        check_positive_int(num_layers, "num_layers")
        self.unroll = check_positive_int(unroll, "unroll")
        keys = split(rngs.params(), num_layers)
        self.num_layers = num_layers
        self.gradient = check_choice(gradient, GRADIENTS, "gradient")
        self.layers = _stacked(lambda key: make_layer(nnx.Rngs(key)), keys)
        self.event_shape = self.layers.event_shape
        self.condition_shape = self.layers.condition_shape

    def recorded_arguments(self, arguments: dict[str, Any]) -> dict[str, Any]:
        layer = recipe_of(self.layers)  # the same for all, as it is static
        return arguments if layer is None else arguments | {"make_layer": Maker(layer)}

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return self._scan(x, condition, key, forward=True)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return self._scan(y, condition, key, forward=False)

    def forward(self, x: Array, condition: Array | None = None) -> Array:
        return self._scan_values(x, condition, forward=True)

    def inverse(self, y: Array, condition: Array | None = None) -> Array:
        return self._scan_values(y, condition, forward=False)

    def _scan_values(self, value: Array, condition: Array | None, *, forward: bool) -> Array:
        if self.gradient != "store":  # a gradient's memory is what counts
            return self._scan(value, condition, None, forward=forward)[0]

        def body(value: Array, bijector: AbstractBijector) -> tuple[Array, None]:
            function = bijector.forward if forward else bijector.inverse
            return function(value, condition_of(bijector, condition)), None

        return lax.scan(body, value, self.layers, **self._over_layers(forward))[0]

    def _over_layers(self, forward: bool) -> dict[str, Any]:
        """How the scan goes over the layers."""
        return {"length": self.num_layers, "reverse": not forward, "unroll": self.unroll}

    def _scan(
        self, value: Array, condition: Array | None, key: Array | None, *, forward: bool
    ) -> tuple[Array, Array]:
        layers = self.layers, None if key is None else jax.random.split(key, self.num_layers)
        over_layers = self._over_layers(forward)
        if self.gradient == "invert":
            stages = _stages(self.layers, forward=forward)
            return reversible_scan(stages, layers, value, condition, **over_layers)

        def body(value: Array, layer: Any) -> tuple[Array, Array]:
            bijector, key = layer
            return Part(bijector, forward).apply(value, condition, key)

        if self.gradient == "recompute":
            body = functools.partial(jax.checkpoint, prevent_cse=False)(body)
        value, log_dets = lax.scan(body, value, layers, **over_layers)
        return value, jnp.sum(log_dets)

    def parts(self) -> list[Part]:
        return [part for i in range(len(self)) for part in self[i].parts()]

    def scales(self) -> Array:
        return self.layers.scales()  # the same for all

    def _renewed(
        self, renew: Renew, batch: Array, condition: Array | None, weights: Array, *, forward: bool
    ) -> tuple[Self, Array]:
        def body(batch: Array, layer: AbstractBijector) -> tuple[Array, AbstractBijector]:
            layer, batch = layer.renewed(renew, batch, condition, weights, forward=forward)
            return batch, layer

        if self.gradient != "store":  # a layer cannot be run back before its statistics are known
            body = jax.checkpoint(body, prevent_cse=False)
        batch, layers = lax.scan(body, batch, self.layers, **self._over_layers(forward))
        return with_parts(self, layers=layers), batch

    def __len__(self) -> int:
        return self.num_layers

    def __getitem__(self, index: int) -> AbstractBijector:
        """One layer by itself, counted from the latent side, or from the data side if negative."""
        if not -self.num_layers <= index < self.num_layers:
            raise IndexError(f"index is {index}; this Repeat has {self.num_layers} layers")
        layer: AbstractBijector = jax.tree.map(lambda leaf: leaf[index], self.layers)
        return layer


def _stacked(
    build: Callable[[Array], AbstractBijector], keys: Array | list[Array]
) -> AbstractBijector:
    """A layer for each key, as one whose arrays have a first axis for them."""
    if isinstance(keys, Array):
        return jax.vmap(build)(keys)

    def side_by_side(*arrays: Array) -> Array:
        if any(isinstance(array, jax.core.Tracer) for array in arrays):
            return jnp.stack(arrays)
        return jax.device_put(np.stack(arrays))  # without a program for each shape

    layers = [build(key) for key in keys]
    kinds: list[Any] = [jax.tree.structure(layer) for layer in layers]
    for i, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise ValueError(
                f"make_layer built another kind of layer in its call {i + 1} than in the first: "
                f"layers of a Repeat differ in their arrays alone; join other layers by a Chain"
            )
    return jax.tree.map(side_by_side, *layers)


def _stages(layers: AbstractBijector, *, forward: bool) -> list[tuple[Apply, Apply]]:
    """The parts of a layer, in the order in which they are applied, each with its inverse."""

    def stage(index: int, forward: bool) -> Apply:
        def apply(layer: Any, value: Array, condition: Array | None) -> tuple[Array, Array]:
            bijector, key = layer
            parts = bijector.parts()
            part = parts[index] if forward else parts[index].turned()
            key = key if len(parts) == 1 else split_key(key, len(parts))[index]
            return part.apply(value, condition, key)

        return apply

    order = range(len(layers.parts()))
    return [(stage(i, forward), stage(i, not forward)) for i in (order if forward else order[::-1])]
