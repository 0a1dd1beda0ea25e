"""Layers that bring each entry to unit scale, by statistics of the batches that reach them.

A bijector sees single events, so the statistics come from outside: `AbstractBijector.renewed`
sends a batch through a map and asks for each of these layers for a new one.
"""

from collections.abc import Sequence
from typing import Any, Self, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.bijectors.base import AbstractNormalization
from flowjax_lite.bijectors.elementwise import AbstractElementwise
from flowjax_lite.bijectors.given import as_dim, given_pair, refuse
from flowjax_lite.core.arrays import ones, zeros
from flowjax_lite.core.buffer import Buffer
from flowjax_lite.numerics.scalar import log_scale

_MAX_LOG_SCALE = 10.0
Layer = TypeVar("Layer", bound=AbstractNormalization)


class ActNorm(AbstractNormalization, AbstractElementwise):
    """A learned shift and scale of each entry, on top of the location and scale of a first batch.

    The latent side is ((y - loc) / scale - shift) · exp(-s): loc and scale are constants that
    `initialize` measures, whatever the units of the data, so shift and s are learned in units of
    one. Until then the layer is the identity.

    Glow: Kingma and Dhariwal, 2018, arXiv:1807.03039, section 3.1.
    """

    def __init__(self, dim: int | Sequence[int]) -> None:
        super().__init__(dim)
        shape = self.event_shape
        self.loc, self.scale = Buffer(zeros(shape)), Buffer(ones(shape))
        self.shift, self.raw_scale = nnx.Param(zeros(shape)), nnx.Param(zeros(shape))

    @classmethod
    def from_arrays(cls, loc: Any, scale: Any = 1.0) -> Self:
        """y = loc + scale · x at the start, as if a batch had had this location and scale.

        Args:
            loc: event_shape.
            scale: event_shape, positive; or one number for all entries.

        Raises:
            ValueError: the shapes differ, or a scale is not positive.
        """
        loc, scale = given_pair(loc, scale, ("loc", "scale"))
        refuse(scale, scale <= 0, "scale", "positive numbers")
        return _with(cls(as_dim(loc.shape)), loc=jnp.asarray(loc), scale=jnp.asarray(scale))

    def _forward(self, x: Array) -> tuple[Array, Array]:
        s, scale = log_scale(self.raw_scale[...], _MAX_LOG_SCALE), self.scale[...]
        y = (x * jnp.exp(s) + self.shift[...]) * scale + self.loc[...]
        return y, s + jnp.log(scale)

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        s, scale = log_scale(self.raw_scale[...], _MAX_LOG_SCALE), self.scale[...]
        x = ((y - self.loc[...]) / scale - self.shift[...]) * jnp.exp(-s)
        return x, -s - jnp.log(scale)

    def initialized(self, batch: Array, weights: Array, *, forward: bool) -> Self:
        mean, variance = moments(batch, weights)
        # What varies in a constant entry is rounding, which must not be blown up.
        constant = jnp.sqrt(variance) <= 4 * jnp.finfo(batch.dtype).eps * jnp.abs(mean)
        scale = jnp.sqrt(jnp.where(constant, 1.0, variance))
        loc, scale = (-mean / scale, 1 / scale) if forward else (mean, scale)
        zeros = jnp.zeros_like(mean)
        return _with(self, loc=loc, scale=scale, shift=zeros, raw_scale=zeros)


class BatchNorm(AbstractNormalization, AbstractElementwise):
    """Normalise each entry by running statistics: x = (y - mean) / √(variance + ε).

    Both directions use the stored statistics, as constants: the inverse is exact. In training,
    each step first moves them towards the batch, and its gradient knows how the batch's own
    statistics depend on the layers before; see `observe`. Nothing here is learned by descent.

    RealNVP: Dinh, Sohl-Dickstein and Bengio, 2017, arXiv:1605.08803, section 3.7 and appendix E.
    """

    def __init__(
        self, dim: int | Sequence[int], *, momentum: float = 0.9, epsilon: float = 1e-5
    ) -> None:
        """Start with mean zero and variance one.

        Args:
            dim: number of entries, or the shape of an event.
            momentum: how much of the old statistics each training step keeps, in [0, 1).
            epsilon: added to the variance; positive.

        Raises:
            ValueError: a setting is out of range.
        """
        super().__init__(dim)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum}; expected a number in [0, 1)")
        if not 0 < epsilon < float("inf"):
            raise ValueError(f"epsilon is {epsilon}; expected a positive number")
        self.momentum, self.epsilon = float(momentum), float(epsilon)
        shape = self.event_shape
        self.mean, self.variance = Buffer(zeros(shape)), Buffer(ones(shape))

    @classmethod
    def from_arrays(
        cls, mean: Any, variance: Any = 1.0, *, momentum: float = 0.9, epsilon: float = 1e-5
    ) -> Self:
        """y = mean + √(variance + ε) · x, until training steps move these statistics.

        Args:
            mean: event_shape.
            variance: event_shape, not negative; or one number for all entries.
            momentum: as for the constructor, also the following one.
            epsilon: as there.

        Raises:
            ValueError: the shapes differ, a variance is negative, or a setting is out of range.
        """
        mean, variance = given_pair(mean, variance, ("mean", "variance"))
        refuse(variance, variance < 0, "variance", "numbers of at least 0")
        layer = cls(as_dim(mean.shape), momentum=momentum, epsilon=epsilon)
        return _with(layer, mean=jnp.asarray(mean), variance=jnp.asarray(variance))

    def _forward(self, x: Array) -> tuple[Array, Array]:
        mean, variance = self._statistics()
        return x * jnp.sqrt(variance) + mean, 0.5 * jnp.log(variance)

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        mean, variance = self._statistics()
        return (y - mean) / jnp.sqrt(variance), -0.5 * jnp.log(variance)

    def _statistics(self) -> tuple[Array, Array]:
        # With their gradient, which those of a batch have, just observed.
        return self.mean.get_value(), self.variance.get_value() + self.epsilon

    def initialized(self, batch: Array, weights: Array, *, forward: bool) -> Self:
        _check_direction(forward)
        mean, variance = moments(batch, weights)
        return _with(self, mean=mean, variance=variance)

    def observed(self, batch: Array, weights: Array, *, forward: bool) -> Self:
        """A new layer whose statistics have moved towards this batch's.

        Gradients go through the batch's statistics; the old ones are constants.

        Args:
            batch: (rows, *event_shape), what reaches the layer.
            weights: (rows,), not negative; rows of weight zero have no influence.
            forward: as for `initialized`.

        Raises:
            ValueError: the batch comes from the other side.
        """
        _check_direction(forward)

        def moved(old: Buffer, new: Array) -> Array:
            return self.momentum * old[...] + (1 - self.momentum) * new

        mean, variance = moments(batch, weights)
        return _with(self, mean=moved(self.mean, mean), variance=moved(self.variance, variance))


def _with(layer: Layer, **values: Array) -> Layer:
    """A copy with other numbers in some of its variables."""
    copy = jax.tree.map(lambda leaf: leaf, layer)
    for name, value in values.items():
        variable = getattr(copy, name)
        variable[...] = value.astype(variable[...].dtype)
    return copy


def _check_direction(forward: bool) -> None:
    if forward:
        raise ValueError(
            "a BatchNorm inside Invert meets the batch on the side that it has normalised "
            "already, of which it holds no statistics: put it outside, or use ActNorm"
        )


def moments(batch: Array, weights: Array) -> tuple[Array, Array]:
    """The weighted mean and variance of each entry.

    Args:
        batch: (rows, *event_shape).
        weights: (rows,), not negative; a row of weight zero may hold anything.

    Returns:
        Two arrays of event_shape; the variance is the mean squared deviation.
    """
    weights = (weights / jnp.sum(weights)).reshape(-1, *[1] * (batch.ndim - 1))
    batch = jnp.where(weights > 0, batch, 0.0)  # before any product, which would keep NaN
    mean = jnp.sum(weights * batch, axis=0)
    # What rounding has left, far from zero.
    mean += jnp.sum(weights * (batch - mean[None]), axis=0)
    return mean, jnp.sum(weights * (batch - mean[None]) ** 2, axis=0)
