"""The rational-quadratic spline on the unit interval."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from flowjax_lite.transformers.base import AbstractTransformer, check_min_slope
from flowjax_lite.transformers.knots import check_bins, computed_again
from flowjax_lite.transformers.spline import rational_quadratic


@dataclass(frozen=True)
class UnitSpline(AbstractTransformer):
    """A monotone rational-quadratic spline of [0, 1] onto itself.

    `RationalQuadraticSpline` with free slopes at both ends, for a latent and data that both live
    on the unit interval: there are no tails that the slopes have to meet. A point outside counts
    as the nearer end, with a log-derivative of -inf: no density comes from there.

    Parameters per scalar: `num_bins` logits of widths, `num_bins` logits of heights and
    `num_bins + 1` slopes (softplus).

    Attributes:
        num_bins: number of bins K, at least 2.
        min_bin: smallest width and height; below 1 / K.
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
        return self._apply(params, x, True)

    def inverse_and_log_det(self, params: Array, y: Array) -> tuple[Array, Array]:
        return self._apply(params, y, False)

    @computed_again
    def _apply(self, params: Array, value: Array, forward: bool) -> tuple[Array, Array]:
        below, above = value < 0, value > 1
        inside = jnp.where(below, 0.0, jnp.where(above, 1.0, value))
        result, log_det = rational_quadratic(
            params,
            inside,
            num_bins=self.num_bins,
            interval=(0.0, 1.0),
            min_bin=self.min_bin,
            min_slope=self.min_slope,
            first_slope=0,
            forward=forward,
        )
        return result, jnp.where(below | above, -jnp.inf, log_det)
