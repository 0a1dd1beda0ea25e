"""A mixture of normal distributions."""

from typing import final

import distrax
import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions.bases.base import AbstractBase
from flowjax_lite.distributions.bases.normal import independent_normal


@final
class GaussianMixture(AbstractBase):
    """A mixture of diagonal normals with trainable weights, means and scales.

    Samples are differentiable in means and scales, not in the weights: a choice of component
    has no gradient.
    """

    @remembers_recipe
    def __init__(self, dim: int, *, num_components: int, rngs: nnx.Rngs) -> None:
        """Build equal weights, unit scales and standard normal means.

        Args:
            dim: length of an event.
            num_components: number of normals.
            rngs: source of the initial means; equal ones would never part.
        """
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = None
        count = check_positive_int(num_components, "num_components")
        self.logits = nnx.Param(jnp.zeros(count))
        self.locs = nnx.Param(jax.random.normal(rngs.params(), (count, dim)))
        self.raw_scales = nnx.Param(jnp.zeros((count, dim)))

    def distribution(self, condition: Array | None = None) -> distrax.Distribution:
        return distrax.MixtureSameFamily(
            distrax.Categorical(logits=self.logits[...]),
            independent_normal(self.locs[...], self.raw_scales[...]),
        )
