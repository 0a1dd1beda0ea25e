"""Normal distributions with independent coordinates."""

from typing import final

import distrax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions.bases.base import AbstractBase
from flowjax_lite.numerics.scalar import log_scale

LOG_SCALE_BOUND = 10.0


def independent_normal(loc: Array, raw_scale: Array) -> distrax.Distribution:
    """Normals over the last axis, their scales within exp(±10) whatever raw_scale is.

    Args:
        loc: means, (..., dim).
        raw_scale: unconstrained, (..., dim); 0 gives a scale of one.

    Returns:
        A distribution with event shape (dim,) and the leading axes as batch shape.
    """
    scale = jnp.exp(log_scale(raw_scale, LOG_SCALE_BOUND))
    return distrax.Independent(distrax.Normal(loc, scale), 1)


@final
class StandardNormal(AbstractBase):
    """Independent standard normals, without parameters."""

    @remembers_recipe
    def __init__(self, dim: int) -> None:
        """Build it.

        Args:
            dim: length of an event.
        """
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = None

    def distribution(self, condition: Array | None = None) -> distrax.Distribution:
        # Broadcast Python numbers are weakly typed: the density follows the dtype of z.
        loc = jnp.broadcast_to(0.0, self.event_shape)
        scale = jnp.broadcast_to(1.0, self.event_shape)
        return distrax.Independent(distrax.Normal(loc, scale), 1)


@final
class DiagonalNormal(AbstractBase):
    """Independent normals with trainable means and scales, standard at initialisation."""

    @remembers_recipe
    def __init__(self, dim: int) -> None:
        """Build it.

        Args:
            dim: length of an event.
        """
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = None
        self.loc = nnx.Param(jnp.zeros(dim))
        self.raw_scale = nnx.Param(jnp.zeros(dim))

    def distribution(self, condition: Array | None = None) -> distrax.Distribution:
        return independent_normal(self.loc[...], self.raw_scale[...])
