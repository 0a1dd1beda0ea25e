"""A masked dense layer, evaluated at once or in blocks of units.

The sequential evaluation takes its steps in a few chunks. What the units of a chunk receive from
the chunks before it comes from one product for all of its steps; a step adds what the chunk's
own units send each other, a small product that stays in cache.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from flowjax_lite.core.arrays import zeros
from flowjax_lite.numerics.product import product
from flowjax_lite.numerics.random import lecun_normal


class Units(NamedTuple):
    """Which units of a layer each step of a chunk computes: equal numbers, next to each other."""

    rows: np.ndarray  # (steps, units in a block): indices into the layer
    starts: np.ndarray  # (steps,): index of the block's first unit, counted within the chunk
    total: int  # number of units that the chunk makes known


class Block(NamedTuple):
    """What one sequential step needs of one masked layer; stacked over steps on axis 0."""

    kernel: Array  # (units in the block, inputs that the chunk makes known)
    offset: Array  # (units in the block,): bias, condition, and the inputs known before
    start: Array  # (): index of the block's first unit within the chunk

    def write(self, fresh: Array, values: Array) -> Array:
        """The chunk's units with this block's values in their place."""
        return lax.dynamic_update_slice(fresh, values.astype(fresh.dtype), (self.start,))


class MaskedLinear(nnx.Module):
    """A dense layer whose weights are kept where the degree does not decrease."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        condition_dim: int | None = None,
        zero: bool = False,
        compute_dtype: str,
        rngs: nnx.Rngs,
    ) -> None:
        def draw(rows: int) -> Array:
            if zero:
                return zeros((rows, out_dim))
            return lecun_normal(rngs.params(), (rows, out_dim))

        self.kernel = nnx.Param(draw(in_dim))
        self.bias = nnx.Param(zeros(out_dim))
        self.condition_kernel = None if condition_dim is None else nnx.Param(draw(condition_dim))
        self.compute_dtype = compute_dtype

    def __call__(
        self, x: Array, condition: Array | None, below: np.ndarray, above: np.ndarray
    ) -> Array:
        """Map x, whose units have degrees `below`, to units of degrees `above`."""
        kernel = self._masked(below, above)
        return product(x, kernel, self.compute_dtype) + self._offset(condition)

    def blocks(
        self,
        known: Array,
        condition: Array | None,
        below: np.ndarray,
        above: np.ndarray,
        units: Units,
        num_fresh: int,
    ) -> Block:
        """The layer cut into the blocks of a chunk's steps.

        Args:
            known: (inputs,) those known before the chunk.
            condition: (condition_dim,).
            below: degrees of all inputs.
            above: degrees of all outputs.
            units: the outputs that each step computes.
            num_fresh: number of inputs, after the known ones, that the chunk makes known.
        """
        kernel = self._masked(below, above).T[units.rows]
        of_known, of_fresh, _ = jnp.split(kernel, [known.size, known.size + num_fresh], axis=2)
        offset = self._offset(condition)[units.rows] + product(of_known, known, self.compute_dtype)
        return Block(of_fresh, offset, jnp.asarray(units.starts))

    def complete(self, block: Block, fresh: Array) -> Array:
        """The block's units, before the activation, from the inputs that the chunk makes known."""
        return product(block.kernel, fresh, self.compute_dtype) + block.offset

    def _masked(self, below: np.ndarray, above: np.ndarray) -> Array:
        return jnp.where(below[:, None] <= above[None, :], self.kernel[...], 0)

    def _offset(self, condition: Array | None) -> Array:
        if self.condition_kernel is None or condition is None:
            return self.bias[...]
        from_condition = product(condition, self.condition_kernel[...], self.compute_dtype)
        return self.bias[...] + from_condition


def chunks(dim: int) -> list[range]:
    """The steps 0 … dim - 1 in a few ranges of equal length.

    More chunks make smaller products at each step, but more products between chunks and more to
    compile. Measured for 63 and for 256 dimensions, 4 to 16 chunks take the same time.
    """
    length = max(4, -(-dim // 4))
    return [range(start, min(start + length, dim)) for start in range(0, dim, length)]


def hidden_units(degrees: np.ndarray, steps: range) -> Units:
    """The hidden units to compute at each step.

    A block may reach into units of another degree. Later ones are computed again when their
    inputs are known, and until then only masked weights see them; earlier ones do not change.
    """
    first, last = np.searchsorted(degrees, [steps.start, steps.stop])
    inside = degrees[first:last] - steps.start
    size = np.bincount(inside, minlength=len(steps)).max()
    starts = np.minimum(np.searchsorted(inside, np.arange(len(steps))), len(inside) - size)
    return Units(first + starts[:, None] + np.arange(size), starts, len(inside))


def output_units(num_params: int, dim: int, steps: range) -> Units:
    """The outputs that belong to each step's dimension; nothing is written."""
    rows = np.asarray(steps)[:, None] + dim * np.arange(num_params)
    return Units(rows, np.zeros(len(steps), int), rows.size)
