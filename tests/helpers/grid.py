"""Densities on grids: their mass, and samples that claim to follow them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import stats

from flowjax_lite.distributions import Flow


def density_on_grid(model: Flow, ends: tuple[float, ...], num: int) -> np.ndarray:
    """The mass of each cell of a grid on a box around zero, by the midpoint rule.

    Args:
        model: a flow without a condition.
        ends: half-width of the grid along each axis.
        num: cells along each axis.
    """
    return _mass(jax.jit(model.log_prob)(_points(ends, num)), ends, num)


def density_and_flipped(
    model: Flow, ends: tuple[float, ...], num: int
) -> tuple[np.ndarray, np.ndarray]:
    """Such masses, and those of the flow with the wrong sign of its log-determinant."""

    @jax.jit
    def log_probs(x: Array) -> tuple[Array, Array]:
        z, log_det = jax.vmap(model.bijector.inverse_and_log_det)(x)
        base = jax.vmap(model.base.log_prob)(z)
        return base + log_det, base - log_det

    right, wrong = log_probs(_points(ends, num))
    return _mass(right, ends, num), _mass(wrong, ends, num)


def _points(ends: tuple[float, ...], num: int) -> Array:
    """The middles of the cells, (cells, dim)."""
    middles = 2 * (np.arange(num) + 0.5) / num - 1
    axes = [end * middles for end in ends]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(ends))
    return jnp.asarray(points, jnp.float32)


def _mass(log_prob: Array, ends: tuple[float, ...], num: int) -> np.ndarray:
    """Masses (num, ...) from log-densities (cells,)."""
    density = np.exp(np.asarray(log_prob, np.float64)).reshape((num,) * len(ends))
    return density * np.prod(2 * np.asarray(ends) / num)


def agreement(samples: np.ndarray, mass: np.ndarray, ends: tuple[float, float]) -> float:
    """The p-value of samples (n, 2) that claim to follow the masses of a grid's cells."""
    coarse = mass.reshape(10, mass.shape[0] // 10, 10, mass.shape[1] // 10).sum(axis=(1, 3))
    edges = [np.linspace(-end, end, 11) for end in ends]
    counts, *_ = np.histogram2d(*samples.T, bins=edges)
    expected = len(samples) * coarse
    often = expected > 10
    observed, wanted = counts[often], expected[often]
    rest = len(samples) - wanted.sum()
    if rest < -0.01 * len(samples):  # more than all
        return 0.0
    if rest > 10:
        observed, wanted = (np.append(x, len(samples) - x.sum()) for x in (observed, wanted))
    return stats.chisquare(observed, wanted * (observed.sum() / wanted.sum())).pvalue
