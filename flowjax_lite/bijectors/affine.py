"""Shifts and scales of each entry: learned, or fixed from data."""

from collections.abc import Sequence
from typing import Any, Self

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.bijectors.elementwise import AbstractElementwise
from flowjax_lite.bijectors.given import as_dim, before_scale, given_array, given_pair
from flowjax_lite.core.arrays import as_array, zeros
from flowjax_lite.core.buffer import Buffer
from flowjax_lite.core.checks import check_columns, default_dtype, refuse_masked
from flowjax_lite.core.recipe import known_numbers
from flowjax_lite.numerics.scalar import log_scale

_MAX_LOG_SCALE = 10.0


class Shift(AbstractElementwise):
    """Add a learned number to each entry; it starts at zero."""

    def __init__(self, dim: int | Sequence[int]) -> None:
        super().__init__(dim)
        self.shift = nnx.Param(zeros(dim))

    @classmethod
    def from_arrays(cls, shift: Any) -> Self:
        """y = x + shift at the start.

        Args:
            shift: event_shape.
        """
        shift = given_array(shift, "shift")
        layer = cls(as_dim(shift.shape))
        layer.shift[...] = jnp.asarray(shift, default_dtype())
        return layer

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return x + self.shift[...], jnp.zeros_like(x)

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        return y - self.shift[...], jnp.zeros_like(y)


class Scale(AbstractElementwise):
    """Multiply each entry by a learned positive number; it starts at one."""

    def __init__(self, dim: int | Sequence[int]) -> None:
        super().__init__(dim)
        self.raw_scale = nnx.Param(zeros(dim))

    @classmethod
    def from_arrays(cls, scale: Any) -> Self:
        """y = scale · x at the start.

        Args:
            scale: event_shape, positive.

        Raises:
            ValueError: a scale is not positive, or beyond the bound e^±10.
        """
        scale = given_array(scale, "scale")
        layer = cls(as_dim(scale.shape))
        raw = before_scale(scale, _MAX_LOG_SCALE, "scale")
        layer.raw_scale[...] = jnp.asarray(raw, default_dtype())
        return layer

    def _forward(self, x: Array) -> tuple[Array, Array]:
        s = log_scale(self.raw_scale[...], _MAX_LOG_SCALE)
        return x * jnp.exp(s), s

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        s = log_scale(self.raw_scale[...], _MAX_LOG_SCALE)
        return y * jnp.exp(-s), -s


class Affine(AbstractElementwise):
    """Multiply each entry by a learned positive number and add a learned one."""

    def __init__(self, dim: int | Sequence[int]) -> None:
        super().__init__(dim)
        self.shift = nnx.Param(zeros(dim))
        self.raw_scale = nnx.Param(zeros(dim))

    @classmethod
    def from_arrays(cls, loc: Any, scale: Any = 1.0) -> Self:
        """y = loc + scale · x at the start.

        Args:
            loc: event_shape.
            scale: event_shape, positive; or one number for all entries.

        Raises:
            ValueError: the shapes differ, or a scale is not positive, or beyond the bound e^±10.
        """
        loc, scale = given_pair(loc, scale, ("loc", "scale"))
        layer = cls(as_dim(loc.shape))
        raw = before_scale(scale, _MAX_LOG_SCALE, "scale")
        layer.shift[...] = jnp.asarray(loc, default_dtype())
        layer.raw_scale[...] = jnp.asarray(raw, default_dtype())
        return layer

    def _forward(self, x: Array) -> tuple[Array, Array]:
        s = log_scale(self.raw_scale[...], _MAX_LOG_SCALE)
        return x * jnp.exp(s) + self.shift[...], s

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        s = log_scale(self.raw_scale[...], _MAX_LOG_SCALE)
        return (y - self.shift[...]) * jnp.exp(-s), -s


class Standardize(AbstractElementwise):
    """The fixed map from unit scale to the data's scale: y = loc + scale · x.

    As part of a flow it lets the layers work on standardised values while every likelihood
    stays in the data's units. It is not trained.
    """

    def __init__(
        self, dim: int | Sequence[int], *, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0
    ) -> None:
        """Fix a location and a scale; `from_data` measures them.

        Args:
            dim: number of entries, or the shape of an event.
            loc: event_shape or one number for all entries, in the data's units.
            scale: the same; not zero.

        Raises:
            ValueError: a scale is zero, a number is not finite, or there are others than dim.
        """
        super().__init__(dim)
        _check_loc_and_scale(self.event_shape, loc, scale)
        dtype = default_dtype()
        self.loc, self.scale = (
            Buffer(as_array(value, dtype, self.event_shape)) for value in (loc, scale)
        )

    @classmethod
    def from_data(cls, x: Any, *, keep: Sequence[int] = ()) -> Self:
        """The map whose inverse gives the events of x mean zero and standard deviation one.

        Args:
            x: (rows, *event_shape).
            keep: columns that stay as they are, such as angles; indices of the last axis.

        Raises:
            ValueError: x has no axis of an event, no rows or masked cells, an entry is constant
                or not finite, or keep names no columns.
        """
        refuse_masked(x, "x")
        x = np.asarray(x, dtype=np.float64)
        if x.ndim < 2 or not x.size:
            raise ValueError(
                f"x has shape {x.shape}; expected (rows, dim) or (rows, *event_shape) with rows "
                f"in it"
            )
        kept = list(check_columns(keep, x.shape[-1], "keep"))
        loc, scale = x.mean(axis=0), x.std(axis=0)
        loc[..., kept], scale[..., kept] = 0.0, 1.0
        return cls(as_dim(x.shape[1:]), loc=loc, scale=scale)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        return x * self.scale[...] + self.loc[...], jnp.log(jnp.abs(self.scale[...]))

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        return (y - self.loc[...]) / self.scale[...], -jnp.log(jnp.abs(self.scale[...]))


def _check_loc_and_scale(shape: tuple[int, ...], loc: ArrayLike, scale: ArrayLike) -> None:
    for name, value in (("loc", loc), ("scale", scale)):
        if np.shape(value) not in ((), shape):
            raise ValueError(
                f"{name} has shape {np.shape(value)}; expected {shape}, or one number for all"
            )
    locs, scales = known_numbers(loc), known_numbers(scale)
    if locs is None or scales is None:
        return
    locs, scales = np.broadcast_to(locs, shape), np.broadcast_to(scales, shape)
    bad = np.argwhere(~np.isfinite(locs) | ~np.isfinite(scales) | (scales == 0))
    if bad.size:
        place = tuple(bad[0].tolist())
        entry = f"column {place[0]}" if len(place) == 1 else f"entry {list(place)}"
        raise ValueError(
            f"{entry} has location {locs[place]} and scale {scales[place]}; expected finite "
            f"numbers and a scale other than zero: drop a constant column, and repair NaN and inf "
            f"cells"
        )
