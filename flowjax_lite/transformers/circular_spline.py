"""The rational-quadratic spline on the circle."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from flowjax_lite.numerics.scalar import wrap_angle
from flowjax_lite.transformers.base import AbstractTransformer, check_min_slope
from flowjax_lite.transformers.knots import check_bins, computed_again
from flowjax_lite.transformers.spline import rational_quadratic


@dataclass(frozen=True)
class CircularSpline(AbstractTransformer):
    """A rational-quadratic spline of the circle [-π, π), and a rotation after it.

    The slope at both ends is the same, so the map is smooth across the cut; the rotation moves
    the cut, so that the point which the spline alone would leave in its place is not special.
    Angles beyond [-π, π) are brought there by full turns first.

    Circular splines: Rezende, Papamakarios, Racanière, Albergo, Kanwar, Shanahan and Cranmer,
    2020, Normalizing Flows on Tori and Spheres, arXiv:2002.02428, section 2.1.2; the rotation
    is that of section 2.1.

    Parameters per scalar: `num_bins` logits of widths, `num_bins` logits of heights, `num_bins`
    slopes (softplus) and the angle of the rotation.

    Attributes:
        num_bins: number of bins K, at least 2.
        min_bin: smallest width and height, as a fraction of the circle; below 1 / K.
        min_slope: smallest slope at a knot.
    """

    num_bins: int = 8
    min_bin: float = 1e-3
    min_slope: float = 1e-3

    def __post_init__(self) -> None:
        check_bins(self.num_bins, self.min_bin)
        check_min_slope(self.min_slope)

    @property
    def num_params(self) -> int:
        return 3 * self.num_bins + 1

    def forward_and_log_det(self, params: Array, x: Array) -> tuple[Array, Array]:
        y, log_det = self._spline(params[:-1], wrap_angle(x), True)
        return wrap_angle(y + wrap_angle(params[-1])), log_det

    def inverse_and_log_det(self, params: Array, y: Array) -> tuple[Array, Array]:
        turned_back = wrap_angle(wrap_angle(y) - wrap_angle(params[-1]))
        x, log_det = self._spline(params[:-1], turned_back, False)
        return wrap_angle(x), log_det

    @computed_again
    def _spline(self, params: Array, value: Array, forward: bool) -> tuple[Array, Array]:
        # The first knot is also the last one, and so is its slope.
        first = params[2 * self.num_bins]
        return rational_quadratic(
            jnp.concatenate([params, first[None]]),
            value,
            num_bins=self.num_bins,
            interval=(-math.pi, math.pi),
            min_bin=self.min_bin,
            min_slope=self.min_slope,
            first_slope=0,
            forward=forward,
        )
