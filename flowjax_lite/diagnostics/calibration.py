"""Whether a conditional flow is as sure of itself as it should be, from joint draws.

Each test draws samples of the flow for the condition of every row, and ranks the event of the row
among them. Where the flow is exact, all ranks are equally frequent.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.core.checks import (
    as_key,
    check_batch,
    check_condition_batch,
    check_positive_int,
)
from flowjax_lite.distributions import Density

_EXPECTED_IN_BIN = 10  # events; with fewer, the statistic has another distribution
_MOST_BINS = 20
_FEWEST = 2 * _EXPECTED_IN_BIN


@dataclass(frozen=True)
class Ranks:
    """Ranks of events among samples, which are uniform where the samples are exact.

    Attributes:
        ranks: (rows, columns), whole numbers from 0 to num_samples.
        num_samples: how many samples each event was ranked among.
    """

    ranks: np.ndarray
    num_samples: int

    @property
    def p_values(self) -> np.ndarray:
        """Of a chi-squared test of uniformity for each column, (columns,)."""
        from scipy.stats import chisquare

        edges = bin_edges(len(self.ranks), self.num_samples)
        expected = len(self.ranks) * np.diff(edges) / (self.num_samples + 1)
        counts = [np.histogram(column, edges)[0] for column in self.ranks.T]
        return np.array([chisquare(count, expected).pvalue for count in counts])

    @property
    def p_value(self) -> float:
        """Of all columns together: the smallest, times their number (Bonferroni's bound)."""
        return float(min(1.0, self.p_values.min() * self.ranks.shape[1]))

    def coverage(self, levels: ArrayLike) -> np.ndarray:
        """The fraction of events within regions that should hold so much probability.

        Args:
            levels: (levels,), from 0 to 1.

        Returns:
            (levels, columns); where the samples are exact, the levels up to noise.
        """
        ends = np.asarray(levels, float)[:, None, None]
        # A rank stands for the interval between its own quantile and the next one.
        inside = ends * (self.num_samples + 1) - self.ranks
        return np.clip(inside, 0.0, 1.0).mean(axis=1)

    def __str__(self) -> str:
        rows, columns = self.ranks.shape
        p_values = ", ".join(f"{value:.2g}" for value in self.p_values)
        return (
            f"ranks of {rows:,} events among {self.num_samples:,} samples, {columns} columns; "
            f"p-values of uniformity {p_values}; of all columns {self.p_value:.2g}"
        )


def sbc_ranks(
    flow: Density, theta: Any, x: Any, *, key: Array | int, num_samples: int = 99
) -> Ranks:
    """Simulation-based calibration: the rank of each entry of theta among the flow's samples.

    Histograms of ranks that are low at both ends are those of a flow that is too wide; high ends
    mean that it is too narrow, and a slope that it is shifted. A flow that ignores the condition
    and returns the prior has flat histograms too: so look at `expected_coverage` or `c2st` as well.

    Talts, Betancourt, Simpson, Vehtari and Gelman, 2018, arXiv:1804.06788, algorithm 1.

    Args:
        flow: the density of theta given x: a flow, a mixture of flows, or a `Density`.
        theta: (rows, *event_shape), draws of the prior, which the flow was not trained on.
        x: (rows, *condition_shape), one simulation of each.
        key: randomness of the samples, or a seed.
        num_samples: samples for each row.

    Returns:
        The ranks, one column for each entry of theta.

    Raises:
        TypeError: theta or x are not floating-point.
        ValueError: they have the wrong shape, hold NaN, or do not agree in their number; or a
            sample is NaN.

    Example:
        >>> import jax, flowjax_lite as fl
        >>> from flax import nnx
        >>> theta, noise = jax.random.normal(jax.random.key(0), (2, 200, 1))
        >>> flow = fl.flows.maf(dim=1, condition_dim=1, num_layers=1, rngs=nnx.Rngs(0))
        >>> ranks = fl.diagnostics.sbc_ranks(flow, theta, theta + noise, key=1)
        >>> ranks.p_value > 1e-3  # the flow is untrained: it is the prior, which passes
        True
    """
    samples, theta, _ = _samples(flow, theta, x, key=key, num_samples=num_samples)
    below = (samples < theta[None]).sum(axis=0)
    return Ranks(below.reshape(len(theta), -1), num_samples)


def expected_coverage(
    flow: Density, theta: Any, x: Any, *, key: Array | int, num_samples: int = 99
) -> Ranks:
    """How often theta lies within the flow's regions of highest density.

    The rank is the number of samples that have a higher density than theta, so that
    `coverage(0.9)` is the fraction of rows whose theta lies within the smallest region to which
    the flow gives 90 % of its probability. Below the level the flow is too narrow, above it too
    wide. A flow that returns the prior passes, as in `sbc_ranks`.

    Hermans, Delaunoy, Rozet, Wehenkel, Begy and Louppe, 2022, arXiv:2110.06581, section 3.

    Args:
        flow: as for `sbc_ranks`, also the following four.
        theta: as there.
        x: as there.
        key: as there.
        num_samples: as there.

    Returns:
        The ranks, in one column.

    Raises:
        TypeError, ValueError: as there.
    """
    samples, theta, x = _samples(flow, theta, x, key=key, num_samples=num_samples)
    log_p = np.asarray(flow.log_prob(theta, x))
    higher = (np.asarray(flow.log_prob(samples, x)) > log_p).sum(axis=0)
    return Ranks(higher[:, None], num_samples)


def tarp(
    flow: Density,
    theta: Any,
    x: Any,
    *,
    key: Array | int,
    num_samples: int = 99,
    references: Any = None,
) -> Ranks:
    """Coverage of balls around random points: no density is evaluated.

    The rank is the number of samples that are nearer to a reference point than theta is, with
    each entry of theta in units of its standard deviation. With references that do not depend on
    x, as those drawn here, a flow that returns the prior passes; with references that do, such as
    an estimate of theta from x, it is noticed.

    Lemos, Coogan, Hezaveh and Perreault-Levasseur, 2023, arXiv:2302.03026, algorithm 2.

    Args:
        flow: as for `sbc_ranks`, also the following four.
        theta: as there.
        x: as there.
        key: as there, and of the references.
        num_samples: as there.
        references: (rows, *event_shape), one point for each row, chosen without a look at its
            theta; None draws them from the box that holds all theta.

    Returns:
        The ranks, in one column.

    Raises:
        TypeError, ValueError: as there; or the references have another shape than theta.
    """
    key, reference_key = jax.random.split(as_key(key))
    samples, theta, _ = _samples(flow, theta, x, key=key, num_samples=num_samples)
    if references is None:
        uniform = np.asarray(jax.random.uniform(reference_key, theta.shape))
        references = theta.min(axis=0) + uniform * np.ptp(theta, axis=0)
    references = np.asarray(references)
    if references.shape != theta.shape:
        raise ValueError(
            f"references has shape {references.shape}; expected one point for each row of theta, "
            f"{theta.shape}"
        )
    scale = theta.std(axis=0)

    def distance(points: np.ndarray) -> np.ndarray:
        entries = tuple(range(-theta.ndim + 1, 0))
        return (((points - references) / scale) ** 2).sum(axis=entries)

    nearer = (distance(samples) < distance(theta)[None]).sum(axis=0)
    return Ranks(nearer[:, None], num_samples)


def bin_edges(rows: int, num_samples: int) -> np.ndarray:
    """Edges of bins, each of about as many ranks, with enough events in each of them."""
    num = max(2, min(_MOST_BINS, rows // _EXPECTED_IN_BIN, num_samples + 1))
    return np.round(np.linspace(0, num_samples + 1, num + 1)).astype(int)


def _samples(
    flow: Density, theta: Any, x: Any, *, key: Array | int, num_samples: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples (num_samples, rows, *event_shape) of the flow for each row; theta; and x."""
    check_positive_int(num_samples, "num_samples")
    if flow.condition_shape is None:
        raise ValueError("the flow takes no condition; expected a density of theta given x")
    theta = np.asarray(check_batch(theta, flow.event_shape, "theta"))
    x = np.asarray(check_condition_batch(x, flow.condition_shape))
    rows = len(theta) if theta.ndim else 0
    if theta.shape != (rows, *flow.event_shape) or x.shape != (rows, *flow.condition_shape):
        raise ValueError(
            f"theta has shape {theta.shape} and x {x.shape}; expected as many rows of both, "
            f"{('rows', *flow.event_shape)} and {('rows', *flow.condition_shape)}"
        )
    if rows < _FEWEST:
        raise ValueError(f"there are {rows} rows; expected {_FEWEST} at least, to rank them")
    for name, array in (("theta", theta), ("x", x)):
        bad = np.flatnonzero(~np.isfinite(array.reshape(rows, -1)).all(axis=1))
        if bad.size:
            raise ValueError(
                f"{name}[{bad[0]}] is not finite, and {bad.size} rows are like it: leave failed "
                f"simulations out"
            )
    samples = np.asarray(flow.sample(as_key(key), num_samples, x))
    bad = np.flatnonzero(~np.isfinite(samples).all(axis=(0, *range(2, samples.ndim))))
    if bad.size:
        raise ValueError(
            f"samples for x[{bad[0]}] are not finite, and {bad.size} rows are like it: see "
            f"fl.diagnose(flow, theta, x)"
        )
    return samples, theta, x
