"""The additive transformer of NICE."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from flowjax_lite.transformers.base import AbstractTransformer


@dataclass(frozen=True)
class Additive(AbstractTransformer):
    """Shift by a parameter: y = x + θ, volume-preserving.

    NICE: Dinh, Krueger and Bengio, 2014, arXiv:1410.8516, equation 11.
    """

    @property
    def num_params(self) -> int:
        return 1

    def forward_and_log_det(self, params: Array, x: Array) -> tuple[Array, Array]:
        return x + params[0], jnp.zeros_like(x)

    def inverse_and_log_det(self, params: Array, y: Array) -> tuple[Array, Array]:
        return y - params[0], jnp.zeros_like(y)
