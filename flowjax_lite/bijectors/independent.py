"""A transformer on every entry by itself, without a network that looks at other entries."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.conditioners.amortized import AmortizedParams
from flowjax_lite.core.arrays import zeros
from flowjax_lite.core.checks import check_event_shape
from flowjax_lite.transformers import AbstractTransformer


class Independent(AbstractBijector):
    """Transform each entry with learned parameters of its own, which a condition may move.

    One layer fits each entry's own distribution and leaves their dependence to other layers.
    """

    def __init__(
        self,
        transformer: AbstractTransformer,
        dim: int | Sequence[int],
        *,
        condition_dim: int | None = None,
        hidden: tuple[int, ...] = (64, 64),
        activation: str | Activation = "relu",
        compute_dtype: str = "float32",
        rngs: nnx.Rngs | None = None,
    ) -> None:
        """Build the parameters; the layer starts as the identity.

        Args:
            transformer: the scalar map.
            dim: number of entries, or the shape of an event.
            condition_dim: length of the condition; None for none, and then the settings below
                must be left out.
            hidden: widths of the network from the condition to the parameters.
            activation: name or function.
            compute_dtype: of the network's products; see `conditioners.check_compute_dtype`.
            rngs: source of the network's weights; needed with a condition.
        """
        self.event_shape = check_event_shape(dim)
        self.transformer = transformer
        self.params = AmortizedParams(
            zeros((transformer.num_params, *self.event_shape)),
            condition_dim=condition_dim,
            hidden=hidden,
            activation=activation,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        self.condition_shape = self.params.condition_shape

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        y, log_det = self.transformer.forward_and_log_det(self.params(condition), x)
        return y, jnp.sum(log_det)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        x, log_det = self.transformer.inverse_and_log_det(self.params(condition), y)
        return x, jnp.sum(log_det)
