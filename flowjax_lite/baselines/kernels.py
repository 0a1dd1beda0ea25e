"""A kernel density estimate that chooses bandwidth and covariance on validation rows.

scikit-learn's `KernelDensity` has one bandwidth and lets every row predict itself; here the
distances are computed once for all bandwidths, and training rows are scored under the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flowjax_lite.baselines.examples import Examples, Rows, covariances

SHRINKAGES = (0.01, 0.03, 0.1, 0.3, 1.0)
BANDWIDTHS = np.geomspace(0.005, 2.0, 16)
FINER = np.geomspace(0.67, 1.5, 9)
MAX_CENTRES = 5000
MAX_CHOOSING = 500
_CHUNK = 512


@dataclass(frozen=True)
class Kernels:
    """A kernel density estimate: one Gaussian on each kept training row.

    Args:
        kept: The m kept rows.
        factor: (c + d, c + d), the lower Cholesky factor of the covariance of the kernels, up to
            the bandwidth.
        bandwidth: The factor on the kernels' standard deviations.
        num_train: The number of training rows, of which m were kept.
        shrunk: How the covariance was shrunk, for a table.
    """

    kept: Examples
    factor: Rows
    bandwidth: float
    num_train: int
    shrunk: str = ""

    @property
    def name(self) -> str:
        return "KDE"

    @property
    def note(self) -> str:
        kept = f"{len(self.kept)} of {self.num_train} training rows"
        return f"bandwidth {self.bandwidth:.2g} × covariance{self.shrunk}; {kept}"

    @property
    def num_parameters(self) -> int:
        return self.kept.joint.size

    def log_prob(self, examples: Examples) -> Rows:
        return self._scan(examples, [self.bandwidth])[0]

    def train_log_prob(self, train: Examples) -> Rows:
        del train  # Each kept row is scored under the kernels of all the others.
        return self._scan(self.kept, [self.bandwidth], leave_out=True)[0]

    def choose_bandwidth(self, examples: Examples, bandwidths: Rows) -> "tuple[float, Kernels]":
        """Return the best mean log p of the examples, and the estimate that gives it."""
        scores = self._scan(examples, bandwidths).mean(1)
        best = int(np.argmax(scores))
        return float(scores[best]), replace(self, bandwidth=float(bandwidths[best]))

    def _scan(
        self, examples: Examples, bandwidths: Sequence[float] | Rows, *, leave_out: bool = False
    ) -> Rows:
        """Return log p of examples under every bandwidth, (len(bandwidths), n)."""
        from scipy.linalg import solve_triangular

        middle = self.kept.joint.mean(0)  # Distances between numbers near zero lose no digits.
        # Whitened, the condition comes first and depends on the condition alone, so that the
        # marginal kernel is the same kernel on fewer columns.
        centres, white = (
            solve_triangular(self.factor, (each.joint - middle).T, lower=True).T
            for each in (self.kept, examples)
        )
        c, d = examples.condition_dim, examples.x.shape[1]
        parts = []
        for start in range(0, len(white), _CHUNK):
            chunk = white[start : start + _CHUNK]
            marginal = _squared_distances(chunk[:, :c], centres[:, :c])
            joint = marginal + _squared_distances(chunk[:, c:], centres[:, c:])
            if leave_out:  # Row i of the chunk is centre start + i.
                own = np.arange(len(chunk)), start + np.arange(len(chunk))
                marginal[own] = joint[own] = np.inf
            parts.append([_log_sum(joint, h) - _log_sum(marginal, h) for h in bandwidths])
        log_normalizer = np.log(np.diag(self.factor)[c:]).sum() + 0.5 * d * np.log(2 * np.pi)
        log_prob = np.concatenate(parts, axis=1) - d * np.log(bandwidths)[:, None]
        return np.asarray(examples.log_det + log_prob - log_normalizer, np.float64)


def fit_kernels(train: Examples, *, validation: Examples, seed: int = 0) -> Kernels:
    """Fit the kernel estimate whose covariance and bandwidth score best on the validation set.

    Args:
        train: The training examples; beyond `MAX_CENTRES`, a random choice of that many is kept.
        validation: The examples on which covariance and bandwidth are chosen; at most
            `MAX_CHOOSING` of them, chosen at random, are used.
        seed: The seed of both choices.

    Returns:
        The kernel estimate.
    """
    generator = np.random.default_rng(seed)
    kept = train.thinned(MAX_CENTRES, generator)
    choosing = validation.thinned(MAX_CHOOSING, generator)
    candidates = [
        Kernels(kept, factor, 1.0, len(train), shrunk).choose_bandwidth(choosing, BANDWIDTHS)
        for factor, shrunk in covariances(train, SHRINKAGES)
    ]
    _, best = max(candidates, key=lambda each: each[0])
    return best.choose_bandwidth(choosing, best.bandwidth * FINER)[1]


def _squared_distances(a: Rows, b: Rows) -> Rows:
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.maximum(squares, 0.0)


def _log_sum(distances: Rows, h: float) -> Rows:
    """Return log Σ_j exp(-distances_ij / 2h²), (n,)."""
    nearest = distances.min(1)  # Far from all centres nothing underflows.
    return np.log(np.exp((nearest[:, None] - distances) / (2 * h**2)).sum(1)) - nearest / (2 * h**2)
