"""Invertible residual layers: an event plus a small step that a free-form network chooses."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.conditioners import LipschitzMLP
from flowjax_lite.core.checks import check_choice, check_positive_int
from flowjax_lite.numerics.fixed_point import contraction_fixed_point
from flowjax_lite.numerics.power_series import estimate_log_det

LogDet = Literal["exact", "series"]
LOG_DETS: tuple[str, ...] = get_args(LogDet)


class InvertibleResidual(AbstractBijector):
    """The inverse, which densities use, is x = y + g(y), with g a network that contracts.

    Every entry may depend on every other. The forward direction is a fixed point, y = x - g(y),
    found to the precision of the dtype; an event for which it is not found becomes NaN. The
    layer starts as the identity. The log-determinant has two methods:

    - `"exact"`: from the Jacobian of g, with or without a key. It costs as much as g on one
      event for each entry, and a determinant.
    - `"series"`: with a key, an unbiased estimate, and an unbiased gradient, from about
      `num_exact_terms` + 1 / (1 - coefficient) products with the Jacobian, and as many for a
      whole batch as its unluckiest event draws; for some hundred entries and more. Its second
      derivatives mean nothing. Without a key it is exact.

    i-ResNet: Behrmann, Grathwohl, Chen, Duvenaud and Jacobsen, 2019, arXiv:1811.00995.
    Residual flows: Chen, Behrmann, Duvenaud and Jacobsen, 2019, arXiv:1906.02735.
    """

    def __init__(
        self, network: LipschitzMLP, *, log_det: str = "exact", num_exact_terms: int = 4
    ) -> None:
        """Make a layer of a network.

        Args:
            network: g, with a Lipschitz constant below one.
            log_det: "exact" or "series".
            num_exact_terms: number of terms of the series before chance decides on more.

        Raises:
            ValueError: log_det is neither of the two, or there is no term.
        """
        self.event_shape = (network.dim,)
        self.condition_shape = network.condition_shape
        self.network = network
        self.log_det = check_choice(log_det, LOG_DETS, "log_det")
        self.num_exact_terms = check_positive_int(num_exact_terms, "num_exact_terms")

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        # Rounded products make stairs of a network, and its fixed point may lie between two.
        network = self.network.given(condition, compute_dtype="float32")
        y = contraction_fixed_point(lambda y: x - network(y), x)
        log_det = -self.inverse_and_log_det(y, condition, key)[1]
        return y, jnp.where(jnp.any(jnp.isnan(y)), jnp.nan, log_det)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        network = self.network.given(condition)
        if self.log_det == "exact" or key is None:
            jacobian = jax.jacfwd(network)(y)
            matrix = jnp.eye(y.size, dtype=y.dtype) + jacobian
            return y + network(y), jnp.linalg.slogdet(matrix)[1]
        log_det = estimate_log_det(
            network,
            y,
            key,
            continuation=self.network.coefficient,
            num_exact_terms=self.num_exact_terms,
        )
        return y + network(y), log_det
