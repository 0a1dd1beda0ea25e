"""Bounds of spectral norms that hold for every matrix, without a state from step to step."""

import jax.numpy as jnp
from jax import Array, lax


def spectral_norm_bound(matrix: Array, *, num_squarings: int = 6) -> Array:
    """A number never below the largest singular value, and hardly above it.

    With G the smaller of the matrix's two Gram matrices, ‖G^(2^k)‖_F^(1/2^(k+1)) is at least
    the norm, and at most n^(1/2^(k+2)) times it, n the length of the shorter side: by 2 % for
    128 and six squarings. Power iteration, which approaches the norm from below, bounds nothing.

    Gram iteration: Delattre, Barthélemy, Araujo and Allauzen, 2023, arXiv:2305.16173.

    Args:
        matrix: (rows, columns).
        num_squarings: k above.

    Returns:
        A scalar, true to rounding. It is differentiable; where the matrix is zero the bound is
        zero, and so is its gradient.
    """
    matrix = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    # The bound of a multiple is the multiple of the bound, so every scale may be any constant.
    scale = lax.stop_gradient(jnp.max(jnp.abs(matrix), initial=0.0))
    is_zero = scale == 0
    scale = jnp.where(is_zero, 1.0, scale)
    matrix = jnp.where(is_zero, 1.0, matrix / scale)
    power = jnp.matmul(matrix, matrix.T, precision=lax.Precision.HIGHEST)
    log_scale = jnp.zeros_like(scale)  # the power is that of G times exp(-log_scale)
    for _ in range(num_squarings):
        size = lax.stop_gradient(_frobenius(power))
        power = power / size
        power = jnp.matmul(power, power, precision=lax.Precision.HIGHEST)
        log_scale = 2 * (log_scale + jnp.log(size))
    log_bound = (log_scale + jnp.log(_frobenius(power))) / 2 ** (num_squarings + 1)
    return jnp.where(is_zero, 0.0, scale * jnp.exp(log_bound))


def _frobenius(matrix: Array) -> Array:
    return jnp.sqrt(jnp.sum(matrix**2))
