"""Guidance: a causal network that goes further than its condition asks."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.conditioners.causal import AbstractCausal
from flowjax_lite.core.buffer import Buffer
from flowjax_lite.core.checks import check_condition, check_event, default_dtype
from flowjax_lite.core.recipe import known_numbers


class Guided(AbstractCausal):
    """A causal network whose parameters are led away from those without a condition.

        θ_i + w_i (θ_i - θ_i⁰),  w_i = weight · i / (rows - 1)

    θ⁰ are the parameters given a condition of zeros, which stands for none. Output i still sees the
    rows before i alone, so that the flow around is as invertible as it was. Both passes keep
    activations of their own.

    Zhai et al., 2024, arXiv:2412.06329.
    """

    def __init__(self, network: AbstractCausal, weight: float | Array) -> None:
        """Guide a network.

        Args:
            network: one that was trained with conditions of zeros among the others.
            weight: of the last row, a number; 0 changes nothing. Another one compiles nothing.

        Raises:
            ValueError: the network takes no condition, or weight is no finite number.
        """
        if network.condition_shape is None:
            raise ValueError(
                f"this {type(network).__name__} takes no condition, and guidance leads away from "
                f"what a network says without its condition: build it with condition_dim"
            )
        known = known_numbers(weight)
        if jnp.shape(weight) or not (known is None or np.isfinite(known)):
            raise ValueError(f"weight is {weight}; expected one finite number, such as 1.5")
        self.network = network
        self.weight = Buffer(jnp.asarray(weight, default_dtype()))
        self.in_shape, self.num_params = network.in_shape, network.num_params
        self.condition_shape = network.condition_shape

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        x = check_event(x, self.in_shape, "x")
        return self.chunk(range(len(x)), x, self.no_activations(), condition)[1]

    def chunk(
        self, steps: range, x: Array, activations: Any, condition: Array | None = None
    ) -> tuple[Any, Array]:
        (fresh_given, given), (fresh_without, without) = (
            self.network.chunk(steps, x, known, each)
            for known, each in zip(activations, self._conditions(condition), strict=True)
        )
        weights = self._weights()[steps.start : steps.stop].reshape(-1, *[1] * (given.ndim - 2))
        return (fresh_given, fresh_without), given + weights[None] * (given - without)

    def no_activations(self) -> Any:
        return self.network.no_activations(), self.network.no_activations()

    def begin(
        self, steps: range, x: Array, activations: Any, condition: Array | None = None
    ) -> tuple[Any, Any]:
        given, without = (
            self.network.begin(steps, x, known, each)
            for known, each in zip(activations, self._conditions(condition), strict=True)
        )
        weights = self._weights()[steps.start : steps.stop]
        return (given[0], without[0]), (given[1], without[1], weights)

    def step(self, fresh: Any, x: Array, blocks: Any, activations: Any) -> tuple[Any, Array]:
        *of_both, weight = blocks
        (fresh_given, given), (fresh_without, without) = (
            self.network.step(part, x, block, known)
            for part, block, known in zip(fresh, of_both, activations, strict=True)
        )
        return (fresh_given, fresh_without), given + weight * (given - without)

    def _conditions(self, condition: Array | None) -> tuple[Array, Array]:
        """The condition, and that which stands for none."""
        checked = check_condition(condition, self.condition_shape)
        assert checked is not None
        return checked, jnp.zeros_like(checked)

    def _weights(self) -> Array:
        """(rows,), from 0 for the first row, which sees the condition alone, to weight."""
        rows = self.in_shape[0]
        weights: Array = self.weight[...] * (jnp.arange(rows) / max(rows - 1, 1))
        return weights
