"""Products of Householder reflections: learned rotations."""

from typing import Any, Self

import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.bijectors.given import given_array
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.conditioners.amortized import AmortizedParams
from flowjax_lite.core.checks import check_positive_int, default_dtype
from flowjax_lite.numerics.random import normal
from flowjax_lite.numerics.reflections import reflect


class Householder(AbstractBijector):
    """Rotate the event by reflections H(v) = I - 2 v vᵀ / |v|², one after the other.

    As many reflections as entries reach every orthogonal matrix of their determinant. Volume is
    preserved, and both directions cost the same.

    Tomczak and Welling, 2016, arXiv:1611.09630, section 3. All vectors are made from the
    condition at once, not each from the one before it.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_reflections: int,
        condition_dim: int | None = None,
        hidden: tuple[int, ...] = (64, 64),
        activation: str | Activation = "relu",
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Draw the vectors in equal pairs.

        The reflections of a pair undo each other, so an even number of them starts as the
        identity, and an odd number as one reflection. The gradients of the two are opposite:
        training parts them.

        Args:
            dim: number of entries, at least 2.
            num_reflections: number of reflections.
            condition_dim: length of the condition; None for none, and then the settings below
                must be left out.
            hidden: widths of the network from the condition to the vectors.
            activation: name or function.
            compute_dtype: of the network's products; see `conditioners.check_compute_dtype`.
            rngs: source of the vectors and of the network's weights.

        Raises:
            ValueError: dim is below 2, or num_reflections below 1.
        """
        self.event_shape = (check_positive_int(dim, "dim", minimum=2),)
        check_positive_int(num_reflections, "num_reflections")
        different = normal(rngs.params(), ((num_reflections + 1) // 2, dim))
        self.params = AmortizedParams(
            jnp.repeat(different, 2, axis=0)[:num_reflections],
            condition_dim=condition_dim,
            hidden=hidden,
            activation=activation,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        self.condition_shape = self.params.condition_shape

    @classmethod
    def from_arrays(cls, vectors: Any) -> Self:
        """The reflections at the hyperplanes orthogonal to these vectors, at the start.

        Args:
            vectors: (number of reflections, dim), of any length; the first is applied first.
        """
        vectors = given_array(vectors, "vectors")
        if vectors.ndim != 2:
            raise ValueError(
                f"vectors has shape {vectors.shape}; expected (number of reflections, dim)"
            )
        layer = cls(vectors.shape[1], num_reflections=len(vectors), rngs=nnx.Rngs(0))
        layer.params.value[...] = jnp.asarray(vectors, default_dtype())
        return layer

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return reflect(self.params(condition), x), jnp.zeros((), x.dtype)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return reflect(self.params(condition), y, transpose=True), jnp.zeros((), y.dtype)
