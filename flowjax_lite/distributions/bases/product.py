"""Independent distributions side by side."""

from collections.abc import Sequence
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from flowjax_lite.bijectors.compose import condition_of
from flowjax_lite.core.checks import merge_condition_shapes
from flowjax_lite.distributions.bases.base import AbstractBase


@final
class Product(AbstractBase):
    """Bases on consecutive parts of the event, independent of each other.

    Its support is the parts' where all have the same one. Where they differ it is None, though
    not all numbers have a density: the bijector then has to keep each part where it lives.
    """

    def __init__(self, bases: Sequence[AbstractBase]) -> None:
        """Join bases of vectors.

        Args:
            bases: at least one, in the order of their entries.

        Raises:
            ValueError: there are none, one is not of vectors, or their conditions have different
                shapes.
        """
        if not bases:
            raise ValueError("bases is empty; a Product needs at least one")
        if any(len(base.event_shape) != 1 for base in bases):
            raise ValueError(
                f"the bases have event shapes {[base.event_shape for base in bases]}; a Product "
                f"joins vectors: give each part a dim that is a whole number"
            )
        self.bases = nnx.List(bases)
        self.event_shape = (sum(base.event_shape[0] for base in bases),)
        self.condition_shape = merge_condition_shapes([base.condition_shape for base in bases])
        supports = {base.support for base in bases}
        self.support = supports.pop() if len(supports) == 1 else None

    def log_prob(self, z: Array, condition: Array | None = None) -> Array:
        ends = np.cumsum([base.event_shape[0] for base in self.bases])
        parts = zip(self.bases, jnp.split(z, ends[:-1]), strict=True)
        terms = [base.log_prob(part, condition_of(base, condition)) for base, part in parts]
        return sum(terms[1:], terms[0])

    def sample(self, key: Array, condition: Array | None = None) -> Array:
        keys = jax.random.split(key, len(self.bases))
        parts = zip(self.bases, keys, strict=True)
        return jnp.concatenate(
            [base.sample(key, condition_of(base, condition)) for base, key in parts]
        )

    def center(self, condition: Array | None = None) -> Array:
        return jnp.concatenate([base.center(condition_of(base, condition)) for base in self.bases])
