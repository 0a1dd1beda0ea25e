"""Layer normalisation, as networks of images have it."""

from typing import Any

import jax
from flax import nnx
from jax import Array

from flowjax_lite.core.arrays import ones, zeros
from flowjax_lite.core.checks import Shape, default_dtype


class LayerNorm(nnx.LayerNorm):
    """Features of mean 0 and variance 1, then a learned scale and shift of each.

    The variance is that of differences, which does not cancel. A gradient computes all again from
    the features: to write and to read what it needs would take longer.

    Ba, Kiros and Hinton, 2016, arXiv:1607.06450.
    """

    def __init__(self, features: int, *, rngs: nnx.Rngs) -> None:
        """Scale by one and shift by zero."""
        precise: Any = {"use_fast_variance": False, "param_dtype": default_dtype()}
        start: Any = {"scale_init": _ones, "bias_init": _zeros}
        super().__init__(features, **precise, **start, rngs=rngs)

    def __call__(self, x: Array) -> Array:  # type: ignore[override]
        again = jax.checkpoint(super().__call__, prevent_cse=False)
        normalised: Array = again(x)
        return normalised


def _ones(key: Array, shape: Shape, dtype: Any) -> Array:
    return ones(shape)


def _zeros(key: Array, shape: Shape, dtype: Any) -> Array:
    return zeros(shape)
