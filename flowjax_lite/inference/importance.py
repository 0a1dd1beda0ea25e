"""Importance sampling with a flow as proposal."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.core.checks import as_key, check_condition, check_positive_int
from flowjax_lite.core.summary import as_html, as_text
from flowjax_lite.diagnostics import effective_sample_size, pareto_k, smooth_log_weights
from flowjax_lite.distributions import Flow
from flowjax_lite.losses.variational import LogTarget, log_density_of_one

_RELIABLE = 0.7  # the largest k̂ of estimates that can be trusted, by the paper of PSIS


@dataclass(frozen=True, eq=False, repr=False)
class ImportanceSamples:
    """Samples of a flow and their weights under another density.

    Attributes:
        samples: (num, *event_shape).
        log_weights: (num,), numpy's float64: log p(x) - log q(x).
    """

    samples: Array
    log_weights: np.ndarray

    @cached_property
    def pareto_k(self) -> float:
        """k̂ of the weights: below 0.7 estimates are reliable; see `diagnostics.pareto_k`."""
        return pareto_k(self.log_weights)

    @cached_property
    def effective_sample_size(self) -> float:
        """How many samples of the target itself would be worth as much, of `num`."""
        return effective_sample_size(self.log_weights)

    @cached_property
    def log_evidence(self) -> float:
        """log ∫ p: the logarithm of the mean weight, in nats."""
        largest = float(np.max(self.log_weights))
        return largest + math.log(np.mean(np.exp(self.log_weights - largest)))

    @cached_property
    def log_evidence_error(self) -> float:
        """The standard error of `log_evidence`, in nats; too small where k̂ is above 0.7."""
        return math.sqrt(max(0.0, 1 / self.effective_sample_size - 1 / len(self.log_weights)))

    @cached_property
    def weights(self) -> np.ndarray:
        """(num,), Pareto-smoothed weights whose sum is one, for estimates of means.

        The mean of f under the target is about `np.average(f(samples), axis=0, weights=weights)`.
        """
        smoothed = smooth_log_weights(self.log_weights)
        weights = np.exp(smoothed - np.max(smoothed))
        return np.asarray(weights / np.sum(weights))

    def resample(self, key: Array | int, num: int) -> Array:
        """Samples that are about the target's, drawn from these by their smoothed weights.

        Those of large weight come several times.

        Args:
            key: a random key, or a seed.
            num: number of samples, best well below the effective sample size.

        Returns:
            (num, *event_shape).

        Raises:
            TypeError: num is not a whole number.
            ValueError: num is below 1.
        """
        shift = float(jax.random.uniform(as_key(key)))
        num = check_positive_int(num, "num")
        # Systematic resampling: every sample comes as often as its weight says, give or take one.
        places = (np.arange(num) + shift) / num
        index = np.searchsorted(np.cumsum(self.weights), places, side="right")
        order = np.random.default_rng(int(shift * 2**24)).permutation(num)
        return self.samples[np.minimum(index, len(self.weights) - 1)[order]]

    def __repr__(self) -> str:
        return as_text(type(self).__name__, self._summary())

    def _repr_html_(self) -> str:
        return as_html(type(self).__name__, self._summary())

    def _summary(self) -> list[tuple[str, object]]:
        num, size = len(self.log_weights), self.effective_sample_size
        word = "reliable" if self.pareto_k < _RELIABLE else "not to be trusted"
        return [
            ("samples", f"{num:,} of shape {self.samples.shape[1:]}"),
            ("Pareto k", f"{self.pareto_k:.2f}, {word} (below {_RELIABLE} is)"),
            ("effective sample size", f"{size:,.1f}, {size / num:.1%} of the samples"),
            ("log evidence", f"{self.log_evidence:.4f} ± {self.log_evidence_error:.4f} nats"),
        ]


def importance_sample(
    flow: Flow,
    log_target: LogTarget,
    key: Array | int,
    num: int,
    condition: ArrayLike | None = None,
) -> ImportanceSamples:
    """Draw samples of a flow, and weigh them by an unnormalised density p.

    What the flow gets wrong of p, the weights put right, as far as the flow reaches. `pareto_k` of
    the result says whether they can.

    Neural importance sampling: Müller et al., 2019, arXiv:1808.03856. PSIS: Vehtari et al., 2024,
    arXiv:1507.02646.

    Args:
        flow: the proposal q, fitted by `fit_density` or `fit`.
        log_target: log p of one event, up to a constant: from `event_shape` to a scalar. -inf is
            a weight of zero.
        key: a random key, or a seed.
        num: number of samples, at least 21.
        condition: (*condition_shape), one condition of the flow; log_target takes none.

    Returns:
        Samples, weights, and what they say: print it.

    Raises:
        TypeError: num is not a whole number; a condition is missing; or log_target returns no
            floating-point number.
        ValueError: num is too small; the condition has the wrong shape, or none is taken;
            log_target returns an array with axes; or a weight is NaN or +inf, or all are zero.

    Example:
        >>> import flowjax_lite as fl
        >>> from flax import nnx
        >>> target = fl.inference.targets.DoubleWell()
        >>> flow = fl.flows.nsf_coupling(dim=2, num_layers=2, hidden=(16,), rngs=nnx.Rngs(0))
        >>> result = fl.inference.importance_sample(flow, target, 0, 1000)
        >>> error = result.log_evidence - target.log_normalizer
    """
    num = check_positive_int(num, "num", minimum=21)
    condition = check_condition(condition, flow.condition_shape)
    of_one = log_density_of_one(log_target, flow.event_shape)
    samples, of_flow = flow.sample_and_log_prob(key, num, condition)
    log_q = np.asarray(of_flow, np.float64)
    log_p = np.asarray(jax.jit(jax.vmap(of_one))(samples), np.float64)
    _check_weights("log_target", log_p, samples, "look there for what is not defined")
    _check_weights("the flow's log-density", log_q, samples, "print fl.diagnose(flow, samples)")
    if np.max(log_p) == -np.inf:
        raise ValueError(
            f"log_target is -inf at all {num} samples of the flow: the flow lies where the target "
            f"has no mass. Fit it first, or give it a data_map to the target's support, such as "
            f"bijectors.Domains"
        )
    return ImportanceSamples(samples, log_p - log_q)


def _check_weights(name: str, values: np.ndarray, samples: Any, advice: str) -> None:
    """Raise where a logarithm is NaN or +inf; -inf is a density of zero."""
    bad = np.flatnonzero(np.isnan(values) | (values == np.inf))
    if bad.size:
        where = np.array2string(np.asarray(samples[bad[0]]), precision=4, threshold=8)
        raise ValueError(
            f"{name} is {values[bad[0]]} at {bad.size} of {len(values)} samples of the flow, such "
            f"as x = {where}: {advice}"
        )
