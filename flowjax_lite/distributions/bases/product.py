"""Independent distributions side by side."""

from collections.abc import Sequence
from typing import Any, final

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from flowjax_lite.core.checks import merge_condition_shapes
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions.bases.base import AbstractBase


@final
class Product(AbstractBase):
    """Bases on consecutive parts of the event, independent of each other.

    Its support is the parts' where all have the same one. Where they differ it is None, though
    not all numbers have a density: the bijector then has to keep each part where it lives.
    """

    @remembers_recipe
    def __init__(self, bases: Sequence[AbstractBase]) -> None:
        """Join bases.

        Args:
            bases: at least one, in the order of their entries.

        Raises:
            ValueError: there are none, or their conditions have different shapes.
        """
        if not bases:
            raise ValueError("bases is empty; a Product needs at least one")
        self.bases = nnx.List(bases)
        self.event_shape = (sum(base.event_shape[0] for base in bases),)
        self.condition_shape = merge_condition_shapes([base.condition_shape for base in bases])
        supports = {base.support for base in bases}
        self.support = supports.pop() if len(supports) == 1 else None

    def distribution(self, condition: Array | None = None) -> distrax.Distribution:
        return _Concatenated(
            [
                base.distribution(None if base.condition_shape is None else condition)
                for base in self.bases
            ]
        )


class _Concatenated(distrax.Distribution):
    def __init__(self, parts: list[distrax.Distribution]) -> None:
        super().__init__()
        self.parts = parts

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (sum(self._sizes()),)

    def log_prob(self, value: Array) -> Array:
        values = jnp.split(value, np.cumsum(self._sizes())[:-1], axis=-1)
        terms = [part.log_prob(value) for part, value in zip(self.parts, values, strict=True)]
        return sum(terms[1:], terms[0])

    def _sample_n(self, key: Any, n: int) -> Array:
        keys = jax.random.split(key, len(self.parts))
        samples = [
            part.sample(seed=key, sample_shape=(n,))
            for part, key in zip(self.parts, keys, strict=True)
        ]
        return jnp.concatenate(samples, axis=-1)

    def _sizes(self) -> list[int]:
        return [part.event_shape[0] for part in self.parts]
