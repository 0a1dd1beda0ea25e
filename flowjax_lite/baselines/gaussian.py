"""One Gaussian, or a mixture of several, with full covariances."""

from dataclasses import dataclass

import numpy as np

from flowjax_lite.baselines.examples import Examples, Rows, covariances

SHRINKAGES = (0.0, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
MAX_ROWS = 5000
COMPONENTS = (2, 8, 20)
# In units of each column's variance: no component collapses onto a few rows.
RIDGES = (1e-3, 1e-1)


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians of the condition and the event side by side.

    Args:
        weights: (k,), positive, with sum 1.
        means: (k, c + d).
        factors: (k, c + d, c + d), the lower Cholesky factors of the covariances.
        condition_dim: c, zero without a condition.
        note: The settings that were chosen, for a table.
    """

    weights: Rows
    means: Rows
    factors: Rows
    condition_dim: int = 0
    note: str = ""

    @property
    def name(self) -> str:
        return "Gaussian" if len(self.weights) == 1 else "Gaussian mixture"

    @property
    def num_parameters(self) -> int:
        joint, c = self.means.shape[1], self.condition_dim
        each = joint + joint * (joint + 1) // 2
        if len(self.weights) == 1:  # the Gaussian of the condition itself cancels
            return each - c - c * (c + 1) // 2
        return len(self.weights) * (1 + each) - 1

    def log_prob(self, examples: Examples) -> Rows:
        log_prob = self._marginal(examples.joint) + examples.log_det
        return (
            log_prob
            if examples.condition is None
            else log_prob - self._marginal(examples.condition)
        )

    def train_log_prob(self, train: Examples) -> Rows:
        return self.log_prob(train)

    def _marginal(self, z: Rows) -> Rows:
        """Return the log-density of the first columns, as many as z has, (n,)."""
        from scipy.special import logsumexp
        from scipy.stats import Covariance, multivariate_normal

        m = z.shape[1]
        parts = [
            np.log(weight)
            + multivariate_normal(mean[:m], Covariance.from_cholesky(factor[:m, :m])).logpdf(z)
            for weight, mean, factor in zip(self.weights, self.means, self.factors, strict=True)
        ]
        return np.atleast_1d(np.asarray(logsumexp(parts, axis=0), np.float64))


def fit_gaussian(train: Examples, *, validation: Examples) -> Mixture:
    """Fit the Gaussian whose shrinkage scores best on the validation examples.

    Args:
        train: The training examples.
        validation: The examples on which the shrinkage is chosen.

    Returns:
        The Gaussian, a mixture of one.
    """
    mean = train.joint.mean(0)
    candidates = [
        Mixture(
            np.ones(1), mean[None], factor[None], train.condition_dim, f"full covariance{shrunk}"
        )
        for factor, shrunk in covariances(train, SHRINKAGES)
    ]
    return max(candidates, key=lambda each: each.log_prob(validation).mean())


def fit_mixture(train: Examples, *, validation: Examples, seed: int = 0) -> Mixture:
    """Fit the mixture whose number of components and ridge score best on the validation set.

    Args:
        train: The training examples; beyond `MAX_ROWS`, a random choice of that many is used.
        validation: The examples on which the settings are chosen.
        seed: The seed of that choice and of the starting values.

    Returns:
        The mixture.
    """
    used = train.thinned(MAX_ROWS, np.random.default_rng(seed))
    rows = f"{len(used)} of {len(train)} training rows" if len(used) < len(train) else "all rows"
    candidates = [
        _fit(used, number, ridge, seed, rows)
        for number in COMPONENTS
        if number <= len(used) // 2
        for ridge in RIDGES
    ]
    return max(candidates, key=lambda each: each.log_prob(validation).mean())


def _fit(train: Examples, number: int, ridge: float, seed: int, rows: str) -> Mixture:
    from sklearn.mixture import GaussianMixture

    scale = train.joint.std(0)
    # A start from k-means and few steps: what is left to gain does not change the choice.
    model = GaussianMixture(
        number, reg_covar=ridge, max_iter=100, tol=1e-3, init_params="k-means++", random_state=seed
    ).fit(train.joint / scale)
    return Mixture(
        model.weights_,
        model.means_ * scale,
        np.linalg.cholesky(model.covariances_) * scale[:, None],
        train.condition_dim,
        f"{number} components, full covariances, ridge {ridge:g}; {rows}",
    )
