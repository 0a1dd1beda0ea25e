"""Any distrax distribution as a base, and any distrax bijector as a layer."""

from typing import TYPE_CHECKING, Any, final

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.core.buffer import Buffer
from flowjax_lite.core.checks import Shape, check_event_shape
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
        self.leaves = _buffers(leaves)

    def log_prob(self, z: Array, condition: Array | None = None) -> Array:
        return self._distribution().log_prob(z)

    def sample(self, key: Array, condition: Array | None = None) -> Array:
        return self._distribution().sample(seed=key)

    def _distribution(self) -> Any:
        return jax.tree.unflatten(self.structure, [leaf[...] for leaf in self.leaves])


@final
class FromDistraxBijector(AbstractBijector):
    """A fixed distrax bijector: its arrays are saved with the flow and never trained.

    What it makes of numbers outside its image or domain, often NaN, is up to distrax.
    """

    def __init__(self, bijector: "distrax.Bijector", *, dim: int | Shape) -> None:
        """Keep a copy of the bijector.

        Args:
            bijector: it acts on events of as many axes as `dim` has, or on each entry, or on the
                last axes.
            dim: length of an event, or its shape.

        Raises:
            TypeError: bijector is not a distrax bijector.
            ValueError: it takes events of more axes, or changes their shape.
        """
        distrax = import_extra("distrax", "interop")
        if not isinstance(bijector, distrax.Bijector):
            raise TypeError(f"bijector is a {type(bijector).__name__}; expected a distrax.Bijector")
        self.event_shape = check_event_shape(dim)
        self.condition_shape = None
        given = bijector.event_ndims_in
        if given > len(self.event_shape):
            raise ValueError(
                f"bijector takes events of {given} axes; this one has shape {self.event_shape}: "
                f"give dim with as many"
            )
        if given < len(self.event_shape):
            bijector = distrax.Block(bijector, len(self.event_shape) - given)
        image = jax.eval_shape(bijector.forward, jnp.zeros(self.event_shape)).shape
        if image != self.event_shape:
            raise ValueError(
                f"bijector maps shape {self.event_shape} to {image}; the shape of an event must "
                f"stay the same along a flow"
            )
        leaves, self.structure = jax.tree.flatten(bijector)
        self.leaves = _buffers(leaves)

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return self._bijector().forward_and_log_det(x)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return self._bijector().inverse_and_log_det(y)

    def _bijector(self) -> Any:
        return jax.tree.unflatten(self.structure, [leaf[...] for leaf in self.leaves])


def _buffers(leaves: list[Array]) -> nnx.List:
    # An explicit dtype drops weak typing, which a saved file could not keep.
    return nnx.List([Buffer(jnp.array(leaf, dtype=leaf.dtype)) for leaf in leaves])
