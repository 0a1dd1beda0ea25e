"""The Gaussian mixture as a baseline: its density, its conditional form, its choice."""

import numpy as np
import pytest
from scipy import stats

from flowjax_lite.baselines import Examples, Mixture, fit_gaussian, fit_mixture

MEANS = np.array([[-2.0, 1.0, 0.0], [3.0, 0.0, 1.0]])
COVARIANCES = np.array([np.eye(3) + 0.5, np.diag([1.0, 2.0, 0.5])])
WEIGHTS = np.array([0.3, 0.7])


def _mixture(condition_dim: int) -> Mixture:
    return Mixture(WEIGHTS, MEANS, np.linalg.cholesky(COVARIANCES), condition_dim)


def _log_density(z: np.ndarray) -> np.ndarray:
    m = z.shape[1]
    parts = [
        weight * stats.multivariate_normal(mean[:m], covariance[:m, :m]).pdf(z)
        for weight, mean, covariance in zip(WEIGHTS, MEANS, COVARIANCES, strict=True)
    ]
    return np.log(sum(parts))


@pytest.mark.parametrize("c", [0, 1])
def test_density_is_that_of_scipy(c: int) -> None:
    """Would catch a wrong normaliser, or a joint density in the place of a conditional one."""
    z, log_det = np.random.default_rng(0).normal(size=(7, 3)), np.arange(7.0)
    condition = z[:, :c] if c else None
    expected = _log_density(z) - (_log_density(z[:, :c]) if c else 0.0) + log_det
    actual = _mixture(c).log_prob(Examples(z[:, c:], condition, log_det))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_two_clusters_of_any_scale() -> None:
    """Would catch columns whose units decide what the mixture can see; one Gaussian cannot."""
    rng = np.random.default_rng(0)
    centres = np.where(rng.random(2000) < 0.4, -5.0, 5.0)[:, None]
    x = (centres + rng.normal(size=(2000, 2))) * [1e-4, 1e3]
    examples = Examples(x)
    train, validation, test = (examples[i : i + 600] for i in (0, 600, 1200))
    mixture = fit_mixture(train, validation=validation)
    truth = np.log(
        0.4 * np.exp(-0.5 * ((test.x / [1e-4, 1e3] + 5) ** 2).sum(1))
        + 0.6 * np.exp(-0.5 * ((test.x / [1e-4, 1e3] - 5) ** 2).sum(1))
    ) - np.log(2 * np.pi * 0.1)
    assert abs((mixture.log_prob(test) - truth).mean()) < 0.05
    gaussian = fit_gaussian(train, validation=validation)
    assert (truth - gaussian.log_prob(test)).mean() > 0.5
    assert mixture.num_parameters == 2 * 6 - 1
    assert mixture.note.startswith("2 components")
