"""Normal distributions with independent entries."""

import math
from abc import abstractmethod
from typing import final

import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.conditioners.mlp import MLP
from flowjax_lite.core.arrays import zeros
from flowjax_lite.core.checks import Shape, check_event_shape, check_float, check_positive_int
from flowjax_lite.distributions.bases.base import AbstractBase
from flowjax_lite.numerics.random import normal
from flowjax_lite.numerics.scalar import log_scale

LOG_SCALE_BOUND = 10.0  # scales stay within exp(±10), whatever their raw values


def log_normal(standardized: Array) -> Array:
    """The log-density of a standard normal variable, entry by entry."""
    return -0.5 * jnp.square(standardized) - 0.5 * math.log(2 * math.pi)


@final
class StandardNormal(AbstractBase):
    """Independent standard normals, without parameters."""

    def __init__(self, dim: int | Shape) -> None:
        """Build it.

        Args:
            dim: length of an event, or its shape.
        """
        self.event_shape = check_event_shape(dim)
        self.condition_shape = None

    def log_prob(self, z: Array, condition: Array | None = None) -> Array:
        return jnp.sum(log_normal(z))

    def sample(self, key: Array, condition: Array | None = None) -> Array:
        return normal(key, self.event_shape)

    def center(self, condition: Array | None = None) -> Array:
        return jnp.zeros(self.event_shape)


class _AbstractScaledNormal(AbstractBase):
    """Normals of which `_loc_and_log_scale` gives mean and scale."""

    @abstractmethod
    def _loc_and_log_scale(self, condition: Array | None) -> tuple[Array, Array]:
        """The mean and the logarithm of the scale, both `event_shape`."""

    def log_prob(self, z: Array, condition: Array | None = None) -> Array:
        loc, log_scales = self._loc_and_log_scale(condition)
        return jnp.sum(log_normal((z - loc) / jnp.exp(log_scales)) - log_scales)

    def sample(self, key: Array, condition: Array | None = None) -> Array:
        loc, log_scales = self._loc_and_log_scale(condition)
        noise = normal(key, self.event_shape, loc.dtype)
        return loc + jnp.exp(log_scales) * noise

    def center(self, condition: Array | None = None) -> Array:
        return self._loc_and_log_scale(condition)[0]


@final
class DiagonalNormal(_AbstractScaledNormal):
    """Independent normals with trainable means and scales, standard at initialisation."""

    def __init__(self, dim: int | Shape) -> None:
        """Build it.

        Args:
            dim: length of an event, or its shape.
        """
        self.event_shape = check_event_shape(dim)
        self.condition_shape = None
        self.loc = nnx.Param(zeros(self.event_shape))
        self.raw_scale = nnx.Param(zeros(self.event_shape))

    def _loc_and_log_scale(self, condition: Array | None) -> tuple[Array, Array]:
        return self.loc[...], log_scale(self.raw_scale[...], LOG_SCALE_BOUND)


@final
class ConditionalNormal(_AbstractScaledNormal):
    """Independent normals, a network giving mean and scale; standard at initialisation."""

    def __init__(
        self,
        dim: int | Shape,
        *,
        condition_dim: int,
        hidden: tuple[int, ...] = (64,),
        rngs: nnx.Rngs,
    ) -> None:
        """Build the network.

        Args:
            dim: length of an event, or its shape.
            condition_dim: length of the condition.
            hidden: widths of the network's hidden layers.
            rngs: source of the initial weights.
        """
        self.event_shape = check_event_shape(dim)
        self.condition_shape = (check_positive_int(condition_dim, "condition_dim"),)
        out_shape = (2, *self.event_shape)
        self.network = MLP(condition_dim, out_shape=out_shape, hidden=hidden, rngs=rngs)

    def _loc_and_log_scale(self, condition: Array | None) -> tuple[Array, Array]:
        loc, raw_scale = self.network(check_float(condition, "condition"))
        return loc, log_scale(raw_scale, LOG_SCALE_BOUND)
