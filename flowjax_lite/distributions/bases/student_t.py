"""Student's t distribution, a base with heavy tails."""

import math
from typing import final

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.core.checks import Shape, check_event_shape
from flowjax_lite.distributions.bases.base import AbstractBase, check_number
from flowjax_lite.numerics.scalar import softplus_inverse

# Below, samples overflow float32 now and then.
MINIMUM_DF = 0.5


@final
class StudentT(AbstractBase):
    """Independent Student's t variables, each with its own trainable degrees of freedom."""

    def __init__(self, dim: int | Shape, *, df: float = 5.0) -> None:
        """Build it.

        Args:
            dim: length of an event, or its shape.
            df: degrees of freedom at initialisation, above 0.5; they stay above it.

        Raises:
            ValueError: df is too small.
        """
        self.event_shape = check_event_shape(dim)
        self.condition_shape = None
        excess = check_number(df, "df", above=MINIMUM_DF) - MINIMUM_DF
        self.raw_df = nnx.Param(softplus_inverse(jnp.full(self.event_shape, excess, float)))

    def log_prob(self, z: Array, condition: Array | None = None) -> Array:
        df = self._df()
        half = 0.5 * df
        log_norm = _log_gamma_step(half) - 0.5 * jnp.log(math.pi * df)
        return jnp.sum(log_norm - (half + 0.5) * _log1p_square(z / jnp.sqrt(df)))

    def sample(self, key: Array, condition: Array | None = None) -> Array:
        df = self._df()
        return jax.random.t(key, df, dtype=df.dtype)

    def _df(self) -> Array:
        return MINIMUM_DF + jax.nn.softplus(self.raw_df[...])


def _log1p_square(t: Array) -> Array:
    """log(1 + t²) without overflow: 2 log|t| + log(1 + 1/t²) where |t| > 1."""
    size = jnp.abs(t)
    large = jnp.maximum(size, 1.0)
    return 2.0 * jnp.log(large) + jnp.log1p((jnp.minimum(size, 1.0) / large) ** 2)


def _log_gamma_step(a: Array) -> Array:
    """log Γ(a + ½) - log Γ(a), by Stirling's series where the difference would cancel."""
    b = 1.0 / jnp.maximum(a, 1.0) ** 2
    series = 0.5 * jnp.log(a) - (1 / 8 - b * (1 / 192 - b * (1 / 640 - b * 17 / 14336))) / a
    small = jnp.minimum(a, 32.0)
    return jnp.where(a > 32.0, series, jax.lax.lgamma(small + 0.5) - jax.lax.lgamma(small))
