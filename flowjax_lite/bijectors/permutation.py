"""Fixed reorderings of the entries."""

from collections.abc import Sequence
from typing import Self

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.core.arrays import as_array
from flowjax_lite.core.buffer import Buffer
from flowjax_lite.core.checks import check_event_shape, check_positive_int, check_rngs
from flowjax_lite.core.recipe import known_numbers
from flowjax_lite.numerics.random import permutation


class Permutation(AbstractBijector):
    """Reorder the entries: y[i] = x[indices[i]]. It is not trained."""

    def __init__(self, indices: Sequence[int] | np.ndarray | Array) -> None:
        """Fix the order.

        Args:
            indices: (dim,), each of 0 … dim - 1 once.

        Raises:
            ValueError: an index is missing or doubled.
        """
        given = known_numbers(indices)
        if given is not None:
            whole = given.ndim == 1 and given.size > 0 and given.dtype.kind in "iu"
            if not whole or not np.array_equal(np.sort(given), np.arange(given.size)):
                raise ValueError(
                    f"indices is {given.tolist()}; expected each of 0 … {max(given.size - 1, 0)} "
                    f"exactly once, as whole numbers"
                )
        if given is None:
            inverse = jnp.argsort(jnp.asarray(indices))
        else:  # without a program: XLA compiles a sort for a tenth of a second
            indices, inverse = (as_array(i, int, i.shape) for i in (given, np.argsort(given)))
        self.indices, self.inverse_indices = Buffer(jnp.asarray(indices)), Buffer(inverse)
        self.event_shape = self.indices.shape
        self.condition_shape = None

    @classmethod
    def random(cls, dim: int, *, parts: Sequence[int] | None = None, rngs: nnx.Rngs) -> Self:
        """A permutation drawn uniformly.

        Args:
            dim: length of the event.
            parts: lengths of consecutive parts, together the event, that do not mix; None for
                one part.
            rngs: source of the order.

        Raises:
            TypeError: rngs is no `Rngs`.
            ValueError: the parts are not as long as the event.
        """
        check_rngs(rngs)
        sizes = (check_positive_int(dim, "dim"),) if parts is None else tuple(parts)
        if sum(sizes) != dim:
            raise ValueError(f"parts is {sizes}, of sum {sum(sizes)}; expected dim = {dim}")
        starts = np.cumsum(sizes) - sizes
        orders = [
            start + permutation(rngs.params(), size)
            for start, size in zip(starts, sizes, strict=True)
        ]
        known = all(isinstance(order, np.ndarray) for order in orders)
        return cls(np.concatenate(orders) if known else jnp.concatenate(orders))

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return _take(x, self.indices[...]), jnp.zeros((), x.dtype)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return _take(y, self.inverse_indices[...]), jnp.zeros((), y.dtype)


class Reverse(AbstractBijector):
    """Turn the order of the entries around; cheaper than a permutation given by indices.

    Of an event of higher rank, such as tokens, that of the first axis.
    """

    def __init__(self, dim: int | Sequence[int]) -> None:
        self.event_shape = check_event_shape(dim)
        self.condition_shape = None

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return x[::-1], jnp.zeros((), x.dtype)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return y[::-1], jnp.zeros((), y.dtype)


def _take(x: Array, indices: Array) -> Array:
    return x.at[indices].get(mode="promise_in_bounds", unique_indices=True)
