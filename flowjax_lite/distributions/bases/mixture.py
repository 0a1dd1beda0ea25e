"""A mixture of normal distributions."""

from typing import final

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.core.arrays import zeros
from flowjax_lite.core.checks import Shape, check_event_shape, check_positive_int
from flowjax_lite.distributions.bases.base import AbstractBase
from flowjax_lite.distributions.bases.normal import LOG_SCALE_BOUND, log_normal
from flowjax_lite.numerics.random import normal
from flowjax_lite.numerics.scalar import log_scale


@final
class GaussianMixture(AbstractBase):
    """A mixture of diagonal normals with trainable weights, means and scales.

    Samples are differentiable in means and scales, not in the weights: a choice of component
    has no gradient.
    """

    def __init__(self, dim: int | Shape, *, num_components: int, rngs: nnx.Rngs) -> None:
        """Build equal weights, unit scales and standard normal means.

        Args:
            dim: length of an event, or its shape.
            num_components: number of normals.
            rngs: source of the initial means; equal ones would never part.
        """
        self.event_shape = check_event_shape(dim)
        self.condition_shape = None
        count = check_positive_int(num_components, "num_components")
        shape = (count, *self.event_shape)
        self.logits = nnx.Param(zeros(count))
        self.locs = nnx.Param(normal(rngs.params(), shape))
        self.raw_scales = nnx.Param(zeros(shape))

    def log_prob(self, z: Array, condition: Array | None = None) -> Array:
        log_scales = log_scale(self.raw_scales[...], LOG_SCALE_BOUND)
        by_entry = log_normal((z[None] - self.locs[...]) / jnp.exp(log_scales)) - log_scales
        by_component = jnp.sum(by_entry, axis=tuple(range(1, by_entry.ndim)))
        return jax.nn.logsumexp(jax.nn.log_softmax(self.logits[...]) + by_component)

    def sample(self, key: Array, condition: Array | None = None) -> Array:
        key_of_choice, key_of_noise = jax.random.split(key)
        component = jax.random.categorical(key_of_choice, self.logits[...])
        loc, raw_scale = self.locs[...][component], self.raw_scales[...][component]
        noise = normal(key_of_noise, self.event_shape, loc.dtype)
        return loc + jnp.exp(log_scale(raw_scale, LOG_SCALE_BOUND)) * noise
