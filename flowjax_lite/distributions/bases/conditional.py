"""A normal distribution whose mean and scale depend on the condition."""

from typing import final

import distrax
from flax import nnx
from jax import Array

from flowjax_lite.conditioners.mlp import MLP
from flowjax_lite.core.checks import check_float, check_positive_int
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions.bases.base import AbstractBase
from flowjax_lite.distributions.bases.normal import independent_normal


@final
class ConditionalNormal(AbstractBase):
    """Independent normals, a network giving mean and scale; standard at initialisation."""

    @remembers_recipe
    def __init__(
        self,
        dim: int,
        *,
        condition_dim: int,
        hidden: tuple[int, ...] = (64,),
        rngs: nnx.Rngs,
    ) -> None:
        """Build the network.

        Args:
            dim: length of an event.
            condition_dim: length of the condition.
            hidden: widths of the network's hidden layers.
            rngs: source of the initial weights.
        """
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = (check_positive_int(condition_dim, "condition_dim"),)
        self.network = MLP(condition_dim, out_shape=(2, dim), hidden=hidden, rngs=rngs)

    def distribution(self, condition: Array | None = None) -> distrax.Distribution:
        loc, raw_scale = self.network(check_float(condition, "condition"))
        return independent_normal(loc, raw_scale)
