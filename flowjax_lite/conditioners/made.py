"""Masked autoregressive networks: output i depends on the inputs before i alone.

Every unit carries a degree: a unit of degree d sees x_1 … x_d only. Units are kept sorted by
degree, which changes nothing for the network and lets the sequential evaluation compute each
unit once, as one contiguous block per step.
"""

from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from flowjax_lite.conditioners.activations import Activation, get_activation
from flowjax_lite.conditioners.causal import AbstractCausal
from flowjax_lite.conditioners.masked import MaskedLinear, hidden_units, output_units
from flowjax_lite.conditioners.mlp import check_hidden, condition_shape
from flowjax_lite.core.checks import check_condition, check_event, check_positive_int
from flowjax_lite.numerics.product import check_compute_dtype


class MADE(AbstractCausal):
    """A masked multilayer perceptron; the condition enters every layer unmasked.

    Germain, Gregor, Murray and Larochelle, 2015, arXiv:1502.03509.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_params: int,
        hidden: tuple[int, ...] = (64, 64),
        condition_dim: int | None = None,
        activation: str | Activation = "relu",
        input_activation: str | Activation = "identity",
        degree_seed: int | None = None,
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Build the layers.

        Args:
            dim: number of inputs.
            num_params: number of outputs per input.
            hidden: widths of the hidden layers.
            condition_dim: length of the condition; None for none.
            activation: name or function.
            input_activation: name or function, of the numbers of the input, and not of the
                condition: "arcsinh" leaves small ones as they are, and of large ones the
                logarithm.
            degree_seed: draw the degrees of hidden units at random from this seed; None
                spreads them evenly.
            compute_dtype: of products: "float32", "tensorfloat32" or "bfloat16"; see
                `check_compute_dtype`.
            rngs: source of the initial weights.
        """
        self.dim = check_positive_int(dim, "dim")
        self.in_shape = (self.dim,)
        self.num_params = check_positive_int(num_params, "num_params")
        self.condition_shape = condition_shape(condition_dim)
        self.hidden = check_hidden(hidden)
        self.activation = get_activation(activation)
        self.input_activation = get_activation(input_activation)
        self.degree_seed = degree_seed
        options: dict[str, Any] = {
            "condition_dim": condition_dim,
            "compute_dtype": check_compute_dtype(compute_dtype),
            "rngs": rngs,
        }
        widths = (dim, *self.hidden)
        self.layers = nnx.List([MaskedLinear(a, b, **options) for a, b in pairwise(widths)])
        self.last = MaskedLinear(widths[-1], num_params * dim, zero=True, **options)

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        x, condition = _check(self, x, condition)
        h = self.input_activation(x)
        below, *hidden, outputs = layer_degrees(self)
        for layer, above in zip(self.layers, hidden, strict=True):
            h = self.activation(layer(h, condition, below, above))
            below = above
        params = self.last(h, condition, below, outputs)
        return params.reshape(self.num_params, self.dim)

    def no_activations(self) -> Any:
        return tuple(jnp.zeros(0) for _ in (self.dim, *self.hidden))

    def begin(
        self, steps: range, x: Array, activations: Any, condition: Array | None = None
    ) -> tuple[Any, Any]:
        inputs, *hidden, outputs = layer_degrees(self)
        # The first activations are the inputs of this chunk alone; those before it come from x.
        blocks, fresh = [], [jnp.zeros(len(steps))]
        known, below, num_fresh = self.input_activation(x), inputs, len(steps)
        for layer, above, activation in zip(self.layers, hidden, activations[1:], strict=True):
            units = hidden_units(above, steps)
            blocks.append(layer.blocks(known, condition, below, above, units, num_fresh))
            known, below, num_fresh = activation, above, units.total
            fresh.append(jnp.zeros(num_fresh))
        units = output_units(self.num_params, self.dim, steps)
        last = self.last.blocks(known, condition, below, outputs, units, num_fresh)
        return tuple(fresh), (jnp.arange(len(steps)), blocks, last)

    def step(self, fresh: Any, x: Array, blocks: Any, activations: Any) -> tuple[Any, Array]:
        number, of_layers, of_last = blocks
        inputs, *fresh = fresh
        h = _with_newest(self, inputs, x, number)
        known = [h]
        for layer, block, cache in zip(self.layers, of_layers, fresh, strict=True):
            h = block.write(cache, self.activation(layer.complete(block, h)))
            known.append(h)
        return tuple(known), self.last.complete(of_last, h)


class ResidualMADE(AbstractCausal):
    """Masked residual blocks of two layers each, all units of one place sharing a degree.

    The autoregressive network of Neural Spline Flows: Durkan et al., 2019, arXiv:1906.04032.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_params: int,
        hidden: tuple[int, ...] = (64, 64),
        condition_dim: int | None = None,
        activation: str | Activation = "relu",
        input_activation: str | Activation = "identity",
        degree_seed: int | None = None,
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Build the blocks.

        Args:
            dim: number of inputs.
            num_params: number of outputs per input.
            hidden: width of each residual block, all equal; (64, 64) is two blocks.
            condition_dim: length of the condition; None for none.
            activation: name or function.
            input_activation: name or function, of the numbers of the input, and not of the
                condition: "arcsinh" leaves small ones as they are, and of large ones the
                logarithm.
            degree_seed: draw the degrees of hidden units at random from this seed; None
                spreads them evenly.
            compute_dtype: of products: "float32", "tensorfloat32" or "bfloat16"; see
                `check_compute_dtype`.
            rngs: source of the initial weights.
        """
        self.dim = check_positive_int(dim, "dim")
        self.in_shape = (self.dim,)
        self.num_params = check_positive_int(num_params, "num_params")
        self.condition_shape = condition_shape(condition_dim)
        self.hidden = check_hidden(hidden, equal=True)
        self.activation = get_activation(activation)
        self.input_activation = get_activation(input_activation)
        self.degree_seed = degree_seed
        width = self.hidden[0]
        options: dict[str, Any] = {
            "compute_dtype": check_compute_dtype(compute_dtype),
            "rngs": rngs,
        }
        conditional: dict[str, Any] = {"condition_dim": condition_dim, **options}
        self.first = MaskedLinear(dim, width, **conditional)
        self.inner = nnx.List([MaskedLinear(width, width, **conditional) for _ in hidden])
        self.outer = nnx.List([MaskedLinear(width, width, zero=True, **options) for _ in hidden])
        self.last = MaskedLinear(width, num_params * dim, zero=True, **conditional)

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        x, condition = _check(self, x, condition)
        inputs, units, outputs = self._degrees()
        h = self.first(self.input_activation(x), condition, inputs, units)
        for inner, outer in zip(self.inner, self.outer, strict=True):
            middle = self.activation(inner(self.activation(h), condition, units, units))
            h = h + outer(middle, None, units, units)
        params = self.last(self.activation(h), condition, units, outputs)
        return params.reshape(self.num_params, self.dim)

    def no_activations(self) -> Any:
        return tuple(jnp.zeros(0) for _ in range(2 * len(self.hidden) + 2))

    def begin(
        self, steps: range, x: Array, activations: Any, condition: Array | None = None
    ) -> tuple[Any, Any]:
        inputs, degrees, outputs = self._degrees()
        units = hidden_units(degrees, steps)
        known = self.input_activation(x)
        activations = activations[1:]  # the first are inputs, which come from x here
        first = self.first.blocks(known, condition, inputs, degrees, units, len(steps))
        inner = [
            layer.blocks(before, condition, degrees, degrees, units, units.total)
            for layer, before in zip(self.inner, activations[:-1:2], strict=True)
        ]
        outer = [
            layer.blocks(after, None, degrees, degrees, units, units.total)
            for layer, after in zip(self.outer, activations[1::2], strict=True)
        ]
        results = output_units(self.num_params, self.dim, steps)
        last = self.last.blocks(activations[-1], condition, degrees, outputs, results, units.total)
        fresh = (jnp.zeros(len(steps)), *(jnp.zeros(units.total) for _ in activations))
        return fresh, (jnp.arange(len(steps)), first, inner, outer, last)

    def step(self, fresh: Any, x: Array, blocks: Any, activations: Any) -> tuple[Any, Array]:
        number, of_first, of_inner, of_outer, of_last = blocks
        inputs, *fresh = fresh
        inputs = _with_newest(self, inputs, x, number)
        known = [inputs]
        h = self.first.complete(of_first, inputs)
        layers = zip(
            self.inner, of_inner, self.outer, of_outer, fresh[:-1:2], fresh[1::2], strict=True
        )
        for inner, into, outer, out, cache, next_cache in layers:
            before = into.write(cache, self.activation(h))
            middle = self.activation(inner.complete(into, before))
            after = out.write(next_cache, middle)
            h = h + outer.complete(out, after)
            known += [before, after]
        final = of_first.write(fresh[-1], self.activation(h))
        return (*known, final), self.last.complete(of_last, final)

    def _degrees(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Degrees of the inputs, of the hidden units and of the outputs."""
        inputs, units, *_, outputs = layer_degrees(self)
        return inputs, units, outputs


def layer_degrees(network: MADE | ResidualMADE) -> list[np.ndarray]:
    """Degrees of the inputs 1 … dim, of each hidden layer, and of the outputs 0 … dim - 1.

    Hidden units of degree 0 see the condition alone; there are some only where it is needed.
    """
    dim = network.dim
    lowest = 1 if dim > 1 and network.condition_shape is None else 0
    num_degrees = dim - lowest
    random = None if network.degree_seed is None else np.random.default_rng(network.degree_seed)
    hidden = [
        lowest + np.arange(width) * num_degrees // width
        if random is None
        else np.sort(random.integers(lowest, dim, size=width))
        for width in network.hidden
    ]
    outputs = np.tile(np.arange(dim), network.num_params)
    return [np.arange(1, dim + 1), *hidden, outputs]


def _check(
    network: MADE | ResidualMADE, x: Array, condition: Array | None
) -> tuple[Array, Array | None]:
    condition = check_condition(condition, network.condition_shape)
    return check_event(x, (network.dim,), "x"), condition


def _with_newest(network: MADE | ResidualMADE, inputs: Array, x: Array, number: Array) -> Array:
    """What the layers see of a chunk's entries, with the one that the step before has found.

    Step 0 knows none: the entry that it writes has no weight yet, and is written again. The last
    entry of a chunk is seen by the next chunk alone, which reads all entries before it anew.
    """
    last = jnp.maximum(number - 1, 0)
    newest = network.input_activation(lax.dynamic_slice_in_dim(x, last, 1))
    return lax.dynamic_update_slice_in_dim(inputs, newest.astype(inputs.dtype), last, axis=0)
