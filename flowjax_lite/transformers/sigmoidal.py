"""The sigmoidal transformers of Neural Autoregressive Flows, in log space throughout."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn import log_sigmoid, log_softmax, logsumexp

from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.numerics.scalar import log_scale, soft_clip
from flowjax_lite.transformers.base import AbstractNumericalForward

# Weights within one row differ by a factor of at most exp(2 * 7), about 10^6.
_MAX_LOGIT = 7.0
_MAX_LOG_SLOPE = 5.0
_MAX_OFFSET = 1000.0


@dataclass(frozen=True)
class _AbstractSigmoidal(AbstractNumericalForward):
    """Layers h ↦ logit(W σ(a · (U h) + b)) with slopes a > 0 and weights on the simplex.

    `num_units` sigmoids lie within each of the `num_layers` layers.
    """

    num_units: int
    num_layers: int

    def __post_init__(self) -> None:
        check_positive_int(self.num_units, "num_units")
        check_positive_int(self.num_layers, "num_layers")

    @property
    @abstractmethod
    def _widths(self) -> tuple[int, ...]:
        """Lengths of h before, between and after the layers; the first and last are 1."""

    @property
    def num_params(self) -> int:
        return sum(
            math.prod(shape)
            for widths in pairwise(self._widths)
            for shape in self._shapes(*widths).values()
        )

    def _shapes(self, width_in: int, width_out: int) -> dict[str, tuple[int, int]]:
        """The parameters of one layer, in their order."""
        units = self.num_units
        return {
            # The only mean of one number is that number.
            "mixing": (units, width_in if width_in > 1 else 0),
            "log_slopes": (units, 1),
            "offsets": (units, 1),
            "weights": (width_out, units),
        }

    @final
    def inverse_and_log_det(self, params: Array, y: Array) -> tuple[Array, Array]:
        # Infinite values are replaced before the formulas, so that slopes stay finite.
        finite = jnp.isfinite(y)
        h = jnp.where(finite, y, 0.0)[None]
        log_slope = jnp.zeros_like(h)
        params = params * jnp.asarray(_gains(len(params)), y.dtype).reshape(-1, *(1,) * y.ndim)
        start = 0
        for widths in pairwise(self._widths):
            layer = {}
            for name, shape in self._shapes(*widths).items():
                stop = start + math.prod(shape)
                layer[name] = params[start:stop].reshape(*shape, *y.shape)
                start = stop
            h, log_slope = _apply_layer(h, log_slope, **layer)
        return jnp.where(finite, h[0], y), log_slope[0]


@dataclass(frozen=True)
class DeepSigmoid(_AbstractSigmoidal):
    """The deep sigmoidal flow (DSF): x = logit(wᵀ σ(a y + b)), one layer on the other.

    NAF: Huang, Krueger, Lacoste and Courville, 2018, arXiv:1804.00779, equations 8 and 9.
    Both logarithms of the logit are sums of positive terms, so nothing cancels; far out the
    map is linear. Densities use this closed form; the forward direction is numerical.

    Parameters per scalar and layer: `num_units` logarithms of slopes a, offsets b and logits of
    weights w.

    Attributes:
        num_units: number of sigmoids in each layer.
        num_layers: number of layers.
    """

    num_units: int = 8
    num_layers: int = 1

    @property
    def _widths(self) -> tuple[int, ...]:
        return (1,) * (self.num_layers + 1)


@dataclass(frozen=True)
class DeepDenseSigmoid(_AbstractSigmoidal):
    """The deep dense sigmoidal flow (DDSF): layers of several monotone units, fully connected.

    Each layer maps h to logit(W σ(a · (U h) + b)), where the rows of U and W are weights that
    sum to one; between layers h has `num_units` entries. With one layer it is `DeepSigmoid`.

    NAF: Huang, Krueger, Lacoste and Courville, 2018, arXiv:1804.00779, equations 10 and 11;
    the last layer has `num_units` sigmoids too, and all of U and W are parameters.

    Attributes:
        num_units: number of sigmoids in each layer.
        num_layers: number of layers.
    """

    num_units: int = 8
    num_layers: int = 2

    @property
    def _widths(self) -> tuple[int, ...]:
        return 1, *(self.num_units,) * (self.num_layers - 1), 1


def _gains(num: int) -> np.ndarray:
    """One fixed factor in [1/2, 3/2) for each raw parameter, no two alike.

    At parameters of zero all units are equal, so their gradients are too: without different
    gains the units would stay equal for ever.
    """
    golden = (math.sqrt(5) - 1) / 2
    return 0.5 + golden * np.arange(num) % 1.0


def _apply_layer(
    h: Array,
    log_slope: Array,
    *,
    mixing: Array,
    log_slopes: Array,
    offsets: Array,
    weights: Array,
) -> tuple[Array, Array]:
    """One layer, and the logarithms of the slopes ∂h/∂y.

    Args:
        h: (width_in, *shape).
        log_slope: (width_in, *shape).
        mixing: (units, width_in, *shape), logits of U; (units, 0, *shape) if width_in is 1.
        log_slopes: (units, 1, *shape), log a.
        offsets: (units, 1, *shape), b.
        weights: (width_out, units, *shape), logits of W.

    Returns:
        h and log_slope after the layer, (width_out, *shape).
    """
    log_a = log_scale(log_slopes, _MAX_LOG_SLOPE)[:, 0]
    mean, log_slope_of_mean = h, log_slope
    if len(h) > 1:
        log_u = log_softmax(soft_clip(mixing, _MAX_LOGIT), axis=1)
        mean = jnp.sum(jnp.exp(log_u) * h[None], axis=1)
        log_slope_of_mean = logsumexp(log_u + log_slope[None], axis=1)
    z = jnp.exp(log_a) * mean + soft_clip(offsets, _MAX_OFFSET)[:, 0]
    log_w = log_softmax(soft_clip(weights, _MAX_LOGIT), axis=1)
    low, high = log_sigmoid(-z)[None], log_sigmoid(z)[None]
    h = logsumexp(log_w + high, axis=1) - logsumexp(log_w + low, axis=1)
    # With p = W σ(z): ∂ log p - ∂ log (1 - p), each a mean over units of positive slopes.
    slopes = jnp.logaddexp(
        log_softmax(log_w + high, axis=1) + low, log_softmax(log_w + low, axis=1) + high
    )
    return h, logsumexp((log_a + log_slope_of_mean)[None] + slopes, axis=1)
