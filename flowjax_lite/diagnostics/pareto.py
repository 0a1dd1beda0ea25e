"""Pareto-smoothed importance sampling: whether importance weights can be trusted."""

import math
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

_FEWEST = 5  # weights in a tail to which a distribution can be fitted
_FEWEST_WEIGHTS = 21  # of which a fifth are so many
_PRIOR_SHAPE, _PRIOR_WEIGHTS = 0.5, 10  # the paper's weak prior on the shape
# Zhang and Stephens, 2009, section 4: where the prior of the inverse scale lies, and how widely.
_PRIOR_QUANTILE, _PRIOR_SPREAD = 0.25, 3.0


def pareto_k(log_weights: ArrayLike) -> float:
    """The shape k̂ of the tail of importance weights: how far estimates by them can be trusted.

    The largest weights are fitted by a generalized Pareto distribution, which has 1 / k finite
    moments. Below 0.5 estimates by these weights have a finite variance; up to 0.7 they are
    reliable in practice; above, what is estimated depends on a few samples, whatever their
    effective sample size. Everything is computed in float64, relative to the largest weight.

    PSIS: Vehtari, Simpson, Gelman, Yao and Gabry, 2024, arXiv:1507.02646, section 3; the fit:
    Zhang and Stephens, 2009, doi:10.1198/tech.2009.08017.

    Args:
        log_weights: (num,), log p(x) - log q(x) of samples x of q, up to a constant; -inf is a
            weight of zero. At least 21.

    Returns:
        k̂; -inf where the largest weights are all equal, so that there is no tail; inf where fewer
        than five weights lie above the others, so that nothing can be said.

    Raises:
        TypeError: log_weights holds no real numbers.
        ValueError: it has another shape, too few entries, NaN or +inf, or -inf alone.

    Example:
        >>> import numpy as np, flowjax_lite as fl
        >>> log_weights = 0.3 * np.random.default_rng(0).exponential(size=10_000)  # Pareto, k = 0.3
        >>> print(f"{fl.diagnostics.pareto_k(log_weights):.1f}")
        0.3
    """
    return _fit(_checked(log_weights, fewest=_FEWEST_WEIGHTS)).shape


def smooth_log_weights(log_weights: ArrayLike) -> np.ndarray:
    """Importance weights whose largest are quantiles of the distribution fitted to them.

    Estimates get a lower variance for a small bias. No weight becomes larger than the largest was.

    PSIS: Vehtari, Simpson, Gelman, Yao and Gabry, 2024, arXiv:1507.02646, section 3.2.

    Args:
        log_weights: as for `pareto_k`.

    Returns:
        (num,), float64, in the order and with the constant of those given. They are those given
        where `pareto_k` is infinite.

    Raises:
        TypeError, ValueError: as `pareto_k`.
    """
    values = _checked(log_weights, fewest=_FEWEST_WEIGHTS)
    tail, smoothed = _fit(values), values.copy()
    if math.isfinite(tail.shape):
        number = len(tail.entries)
        quantiles = (np.arange(number) + 0.5) / number
        excess = tail.scale * _pareto_quantile(quantiles, tail.shape)
        largest = np.max(values)
        relative = np.logaddexp(tail.cutoff, np.log(excess))
        smoothed[tail.entries] = np.minimum(largest + relative, largest)
    return smoothed


def effective_sample_size(log_weights: ArrayLike) -> float:
    """How many equally weighted samples would be worth as much: (Σ w)² / Σ w².

    A value near the number of samples can hide a tail that was not met: see `pareto_k`.

    Kish, 1965, Survey Sampling, section 11.7.

    Args:
        log_weights: (num,), up to a constant; -inf is a weight of zero.

    Returns:
        From 1 to the number of samples.

    Raises:
        TypeError: log_weights holds no real numbers.
        ValueError: it has another shape, no entry, NaN or +inf, or -inf alone.
    """
    values = _checked(log_weights, fewest=1)
    weights = np.exp(values - np.max(values))
    return float(np.sum(weights) ** 2 / np.sum(weights**2))


class _Tail(NamedTuple):
    """The largest weights, relative to the largest of all.

    Attributes:
        shape: k̂.
        scale: of the fitted distribution of exceedances.
        cutoff: logarithm of the largest weight below the tail.
        entries: (tail,), which weights these are, in ascending order of size.
    """

    shape: float
    scale: float
    cutoff: float
    entries: np.ndarray


def _checked(log_weights: ArrayLike, *, fewest: int) -> np.ndarray:
    values = np.asarray(log_weights)
    if values.dtype.kind not in "iuf" and str(values.dtype) != "bfloat16":
        raise TypeError(f"log_weights has dtype {values.dtype}; expected real numbers")
    values = values.astype(np.float64)
    if values.ndim != 1:
        raise ValueError(
            f"log_weights has shape {values.shape}; expected (num,), the samples of one estimate: "
            f"call it once for each condition, or flatten them by log_weights.ravel()"
        )
    if len(values) < fewest:
        raise ValueError(
            f"log_weights has {len(values)} entries; expected at least {fewest}: draw more samples"
        )
    if bad := int(np.sum(np.isnan(values) | (values == np.inf))):
        raise ValueError(
            f"{bad} of {len(values)} log_weights are NaN or +inf; expected finite numbers, or -inf "
            f"for a weight of zero: find the samples where the log target or the flow's "
            f"log-density is not finite"
        )
    if np.max(values) == -np.inf:
        raise ValueError(
            f"all {len(values)} log_weights are -inf, weights of zero: no sample lies where the "
            f"target has mass"
        )
    return values


def _fit(log_weights: np.ndarray) -> _Tail:
    values = log_weights - np.max(log_weights)
    order = np.argsort(values, kind="stable")
    number = math.ceil(min(len(values) / 5, 3 * math.sqrt(len(values))))
    # A weight of zero cannot be what others exceed.
    cutoff = max(float(values[order[-number - 1]]), math.log(np.finfo(float).tiny))
    index = order[np.searchsorted(values[order], cutoff, side="right") :]
    if len(index) < _FEWEST:
        return _Tail(math.inf if len(index) else -math.inf, math.nan, cutoff, index)
    excess = math.exp(cutoff) * np.expm1(values[index] - cutoff)
    return _Tail(*_fit_pareto(excess), cutoff, index)


def _fit_pareto(excess: np.ndarray) -> tuple[float, float]:
    """Shape and scale of a generalized Pareto distribution, by the estimator's posterior mean.

    Args:
        excess: (num,), positive, ascending.
    """
    number = len(excess)
    candidates = 30 + math.isqrt(number)
    quartile = excess[int(_PRIOR_QUANTILE * number + 0.5) - 1]
    spread = 1 - np.sqrt(candidates / (np.arange(candidates) + 0.5))
    # theta is -shape / scale.
    theta = 1 / excess[-1] + spread / (_PRIOR_SPREAD * quartile)
    shape = np.mean(np.log1p(-theta[:, None] * excess), axis=1)
    log_likelihood = number * (np.log(-theta / shape) - shape - 1)
    weights = np.exp(log_likelihood - np.max(log_likelihood))
    theta_mean = float(np.sum(theta * weights) / np.sum(weights))
    fitted = float(np.mean(np.log1p(-theta_mean * excess)))
    scale = -fitted / theta_mean
    prior = _PRIOR_WEIGHTS / (number + _PRIOR_WEIGHTS)
    return (1 - prior) * fitted + prior * _PRIOR_SHAPE, scale


def _pareto_quantile(probability: np.ndarray, shape: float) -> np.ndarray:
    exponential = -np.log1p(-probability)
    if abs(shape) < np.finfo(float).eps:
        return exponential
    return np.expm1(shape * exponential) / shape
