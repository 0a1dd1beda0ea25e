"""A masked dense layer, evaluated at once or in blocks of units."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

_KERNEL_INIT = nnx.initializers.lecun_normal()


class Block(NamedTuple):
    """What one sequential step needs of one masked layer; stacked over steps on axis 0."""

    kernel: Array  # (units in the block, inputs)
    offset: Array  # (units in the block,): bias and condition
    start: Array  # (): index of the block's first unit

    def apply(self, h: Array) -> Array:
        """The block's units, before the activation, from all inputs of the layer."""
        return self.kernel @ h + self.offset

    def write(self, cache: Array, values: Array) -> Array:
        """The layer's units with this block's values in their place."""
        return lax.dynamic_update_slice(cache, values.astype(cache.dtype), (self.start,))


class MaskedLinear(nnx.Module):
    """A dense layer whose weights are kept where the degree does not decrease."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        condition_dim: int | None = None,
        zero: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        def draw(rows: int) -> Array:
            if zero:
                return jnp.zeros((rows, out_dim))
            return _KERNEL_INIT(rngs.params(), (rows, out_dim))

        self.kernel = nnx.Param(draw(in_dim))
        self.bias = nnx.Param(jnp.zeros(out_dim))
        self.condition_kernel = None if condition_dim is None else nnx.Param(draw(condition_dim))

    def __call__(
        self, x: Array, condition: Array | None, below: np.ndarray, above: np.ndarray
    ) -> Array:
        """Map x, whose units have degrees `below`, to units of degrees `above`."""
        return x @ self._masked(below, above) + self._offset(condition)

    def blocks(
        self, condition: Array | None, below: np.ndarray, above: np.ndarray, rows: np.ndarray
    ) -> Block:
        """The layer cut into blocks of output units.

        Args:
            condition: (condition_dim,).
            below: degrees of the inputs.
            above: degrees of the outputs.
            rows: (steps, units) indices of each step's output units.
        """
        kernel = self._masked(below, above).T[rows]
        return Block(kernel, self._offset(condition)[rows], jnp.asarray(rows[:, 0]))

    def _masked(self, below: np.ndarray, above: np.ndarray) -> Array:
        return jnp.where(below[:, None] <= above[None, :], self.kernel[...], 0)

    def _offset(self, condition: Array | None) -> Array:
        if self.condition_kernel is None or condition is None:
            return self.bias[...]
        return self.bias[...] + condition @ self.condition_kernel[...]


def unit_rows(degrees: np.ndarray, dim: int) -> np.ndarray:
    """Indices (dim, block) of the units to compute at each step, as equal contiguous blocks.

    A block may reach into units of another degree. Later ones are computed again when their
    inputs are known, and until then only masked weights see them; earlier ones do not change.
    """
    first = np.searchsorted(degrees, np.arange(dim))
    size = np.bincount(degrees, minlength=dim).max()
    return np.minimum(first, len(degrees) - size)[:, None] + np.arange(size)


def output_rows(num_params: int, dim: int) -> np.ndarray:
    """Indices (dim, num_params) of the outputs that belong to each dimension."""
    return np.arange(dim)[:, None] + dim * np.arange(num_params)
