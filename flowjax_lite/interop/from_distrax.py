"""Any distrax distribution as a base."""

from typing import TYPE_CHECKING, Any, final

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.bijectors.base import Buffer
from flowjax_lite.core.extra import import_extra
from flowjax_lite.distributions.bases.base import AbstractBase

if TYPE_CHECKING:
    import distrax


@final
class FromDistrax(AbstractBase):
    """A fixed distrax distribution: its arrays are saved with the flow and never trained.

    Two flows share their compiled code only if the structures of their distributions compare
    equal. Those of `MultivariateNormalDiag` do not; `Independent(Normal(...), 1)` does.
    """

    def __init__(self, dist: "distrax.Distribution") -> None:
        """Keep a copy of the distribution.

        Args:
            dist: a continuous distribution over one event.

        Raises:
            TypeError: dist is not a distrax distribution, or not a continuous one.
            ValueError: dist is a batch of distributions.
        """
        distrax = import_extra("distrax", "interop")
        if not isinstance(dist, distrax.Distribution):
            raise TypeError(f"dist is a {type(dist).__name__}; expected a distrax.Distribution")
        # Reading a shape or dtype may store it inside the object and so change its structure.
        # Read all of them, on a copy: then equal distributions have equal structures.
        leaves, structure = jax.tree.flatten(dist)
        copy = jax.tree.unflatten(structure, leaves)
        if copy.batch_shape:
            raise ValueError(
                f"dist has batch shape {copy.batch_shape}; expected one distribution over one "
                f"event: wrap it as distrax.Independent(dist, {len(copy.batch_shape)})"
            )
        if not jnp.issubdtype(copy.dtype, jnp.floating):
            raise TypeError(
                f"dist has dtype {copy.dtype}; expected a continuous distribution, as a density "
                f"cannot follow a discrete one through a bijector"
            )
        self.event_shape = tuple(copy.event_shape)
        self.condition_shape = None
        leaves, self.structure = jax.tree.flatten(copy)
        # An explicit dtype drops weak typing, which a saved file could not keep.
        self.leaves = nnx.List([Buffer(jnp.array(leaf, dtype=leaf.dtype)) for leaf in leaves])

    def log_prob(self, z: Array, condition: Array | None = None) -> Array:
        return self._distribution().log_prob(z)

    def sample(self, key: Array, condition: Array | None = None) -> Array:
        return self._distribution().sample(seed=key)

    def _distribution(self) -> Any:
        return jax.tree.unflatten(self.structure, [leaf[...] for leaf in self.leaves])
