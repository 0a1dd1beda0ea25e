"""The additive transformer of NICE, and the affine one of RealNVP and MAF."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from flowjax_lite.numerics.scalar import log_scale
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


@dataclass(frozen=True)
class Affine(AbstractTransformer):
    """Shift and scale by parameters: y = shift + x · exp(s), with |s| softly bounded.

    RealNVP: Dinh, Sohl-Dickstein and Bengio, 2017, arXiv:1605.08803, equation 4;
    MAF: Papamakarios, Pavlakou and Murray, 2017, arXiv:1705.07057, equation 3.

    Attributes:
        max_log_scale: bound of |s|; the scale cannot overflow and keeps its gradient.
    """

    max_log_scale: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.max_log_scale <= 30:
            raise ValueError(
                f"max_log_scale is {self.max_log_scale}; expected a number in (0, 30], beyond "
                f"which a product of a few layers overflows"
            )

    @property
    def num_params(self) -> int:
        return 2

    def forward_and_log_det(self, params: Array, x: Array) -> tuple[Array, Array]:
        shift, s = params[0], log_scale(params[1], self.max_log_scale)
        return x * jnp.exp(s) + shift, s

    def inverse_and_log_det(self, params: Array, y: Array) -> tuple[Array, Array]:
        shift, s = params[0], log_scale(params[1], self.max_log_scale)
        return (y - shift) * jnp.exp(-s), -s
