"""A third baseline: a mixture of Gaussians, fitted by scikit-learn."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from flowjax_lite.baselines.gaussian_kde import Examples, Rows, thin

MAX_ROWS = 5000
COMPONENTS = (2, 8, 20)
# In units of each column's variance: no component collapses onto a few rows.
RIDGES = (1e-3, 1e-1)


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians of the condition and the event side by side.

    Args:
        log_weights: `(k,)`.
        means: `(k, c + d)`.
        covariances: `(k, c + d, c + d)`.
        condition_dim: c, zero without a condition.
        note: The settings that were chosen, for a table.
    """

    log_weights: Rows
    means: Rows
    covariances: Rows
    condition_dim: int
    note: str

    @property
    def name(self) -> str:
        return "Gaussian mixture"

    @property
    def num_parameters(self) -> int:
        k, joint = self.means.shape
        return k * (1 + joint + joint * (joint + 1) // 2) - 1

    def log_prob(self, examples: Examples) -> Rows:
        beside, c = examples.beside(), self.condition_dim
        log_prob = self._marginal(beside) - (self._marginal(beside[:, :c]) if c else 0.0)
        return np.asarray(log_prob + examples.log_det, np.float64)

    def train_log_prob(self, train: Examples) -> Rows:
        return self.log_prob(train)

    def _marginal(self, z: Rows) -> Rows:
        """Return the log-density of the first columns, as many as z has."""
        m = z.shape[1]
        factors = np.linalg.cholesky(self.covariances[:, :m, :m])
        white = np.linalg.solve(factors, (z[None] - self.means[:, None, :m]).transpose(0, 2, 1))
        log_scales = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(1)
        parts = self.log_weights - log_scales - 0.5 * m * np.log(2 * np.pi)
        return np.asarray(np.logaddexp.reduce(parts[:, None] - 0.5 * (white**2).sum(1)), np.float64)


def fit_mixture(train: Examples, *, validation: Examples, seed: int = 0) -> Mixture:
    """Fit the mixture whose number of components and ridge score best on the validation set.

    Args:
        train: The training examples; beyond `MAX_ROWS`, a random choice of that many is used.
        validation: The examples on which the settings are chosen.
        seed: The seed of that choice and of the starting values.

    Returns:
        The mixture.
    """
    used = thin(train, MAX_ROWS, np.random.default_rng(seed))
    candidates = [
        _fit(used, number, ridge, len(train), seed)
        for number in COMPONENTS
        if number <= len(used) // 2
        for ridge in RIDGES
    ]
    return max(candidates, key=lambda each: each.log_prob(validation).mean())


def _fit(train: Examples, number: int, ridge: float, num_train: int, seed: int) -> Mixture:
    from sklearn.mixture import GaussianMixture

    beside: Any = train.beside()
    scale = beside.std(0)
    # A start from k-means and few steps: what is left to gain does not change the choice.
    model = GaussianMixture(
        number, reg_covar=ridge, max_iter=100, tol=1e-3, init_params="k-means++", random_state=seed
    ).fit(beside / scale)
    rows = f"{len(train)} of {num_train} training rows" if len(train) < num_train else "all rows"
    return Mixture(
        np.log(model.weights_),
        model.means_ * scale,
        model.covariances_ * scale[:, None] * scale,
        beside.shape[1] - train.x.shape[1],
        f"{number} components, full covariances, ridge {ridge:g}; {rows}",
    )
