import dataclasses

import numpy as np
import pytest
from scipy import stats

from flowjax_lite.baselines import Examples, Kernels, fit_gaussian, fit_kernels, kernels


def _correlated(n: int, *, seed: int = 0) -> np.ndarray:
    mixing = np.array([[1.0, 0.0, 0.0], [2.0, 0.5, 0.0], [0.3, -1.0, 0.1]])
    return np.random.default_rng(seed).normal(size=(n, 3)) @ mixing.T + [5.0, -100.0, 0.0]


def test_gaussian_is_the_known_density() -> None:
    """Would catch a wrong normaliser, a transposed factor, or n - 1 in place of n."""
    x, held_out = _correlated(5000), _correlated(200, seed=1)
    fitted = fit_gaussian(Examples(x), validation=Examples(held_out))
    reference = stats.multivariate_normal(x.mean(0), np.cov(x.T, bias=True))
    assert fitted.note == "full covariance"  # Plenty of rows: nothing to shrink.
    np.testing.assert_allclose(fitted.log_prob(Examples(held_out)), reference.logpdf(held_out))


def test_conditional_gaussian_is_linear_regression() -> None:
    """Would catch condition and event swapped, and the joint density taken for the conditional."""
    z, new = _correlated(5000), _correlated(200, seed=1)
    train, held_out = Examples(z[:, 1:], z[:, :1]), Examples(new[:, 1:], new[:, :1])
    fitted = fit_gaussian(train, validation=held_out)
    slope, intercept = _regression(z[:, :1], z[:, 1:])
    residual = z[:, 1:] - z[:, :1] @ slope - intercept
    noise = stats.multivariate_normal([0, 0], residual.T @ residual / len(residual))
    expected = noise.logpdf(new[:, 1:] - new[:, :1] @ slope - intercept)
    np.testing.assert_allclose(fitted.log_prob(held_out), expected)


def _regression(c: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    solution = np.linalg.lstsq(np.hstack([c, np.ones((len(c), 1))]), y, rcond=None)[0]
    return solution[:-1], solution[-1]


def test_shrinkage_is_chosen_where_rows_are_few() -> None:
    """Would catch a singular covariance, and a choice made on the training rows."""
    rng = np.random.default_rng(0)
    x, held_out = rng.normal(size=(20, 30)), rng.normal(size=(200, 30))
    fitted = fit_gaussian(Examples(x), validation=Examples(held_out))
    assert "shrunk" in fitted.note
    truth = stats.multivariate_normal(np.zeros(30)).logpdf(held_out).mean()
    assert truth - 5 < fitted.log_prob(Examples(held_out)).mean() < truth


def _unit_kernels(x: np.ndarray, *, bandwidth: float, condition: np.ndarray | None = None):
    c = 0 if condition is None else condition.shape[1]
    factor = np.eye(x.shape[1] + c)
    return Kernels(Examples(x, condition), factor, bandwidth, len(x))


def test_kernels_agree_with_scipy() -> None:
    """Would catch a wrong normaliser or covariance of the kernels, in chunks or in one piece."""
    x, new = _correlated(400), _correlated(700, seed=1)  # 700 rows: more than one chunk
    reference = stats.gaussian_kde(x.T, bw_method=0.3)
    factor = np.linalg.cholesky(np.cov(x.T))
    fitted = Kernels(Examples(x), factor, 0.3, len(x))
    np.testing.assert_allclose(fitted.log_prob(Examples(new)), reference.logpdf(new.T), rtol=1e-9)


def test_conditional_kernels_are_a_ratio() -> None:
    """Would catch a marginal that is not divided out, or that sees the event."""
    z, new = _correlated(300), _correlated(50, seed=1)
    fitted = _unit_kernels(z[:, 1:], condition=z[:, :1], bandwidth=0.7)
    joint = _unit_kernels(z, bandwidth=0.7).log_prob(Examples(new))
    marginal = _unit_kernels(z[:, :1], bandwidth=0.7).log_prob(Examples(new[:, :1]))
    got = fitted.log_prob(Examples(new[:, 1:], new[:, :1]))
    np.testing.assert_allclose(got, joint - marginal)


def test_training_rows_do_not_predict_themselves() -> None:
    """Would catch a training likelihood that grows without bound as the bandwidth shrinks."""
    x = _correlated(60)
    got = _unit_kernels(x, bandwidth=0.5).train_log_prob(Examples(x))
    others = [np.delete(x, i, axis=0) for i in range(60)]
    expected = [
        _unit_kernels(rest, bandwidth=0.5).log_prob(Examples(x[i : i + 1]))[0]
        for i, rest in enumerate(others)
    ]
    np.testing.assert_allclose(got, expected)


def test_far_rows_have_finite_densities() -> None:
    """Would catch exp underflow: a row far from every kernel with density zero."""
    far = Examples(np.full((1, 3), 1e4))
    assert np.isfinite(_unit_kernels(_correlated(50), bandwidth=0.01).log_prob(far)).all()


def test_bandwidth_is_chosen_on_validation() -> None:
    """Would catch a fixed rule of thumb: these three narrow peaks need a narrow kernel."""
    rng = np.random.default_rng(0)
    x = rng.integers(3, size=(900, 1)) * 10.0 + 0.1 * rng.normal(size=(900, 1))
    fitted = fit_kernels(Examples(x[:600]), validation=Examples(x[600:]))
    entropy = np.log(3) + stats.norm(scale=0.1).entropy()
    assert fitted.log_prob(Examples(x[600:])).mean() == pytest.approx(-entropy, abs=0.15)


def test_many_rows_are_thinned_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch a table that hides how many rows the estimate rests on."""
    monkeypatch.setattr(kernels, "MAX_CENTRES", 100)
    x = _correlated(250)
    fitted = fit_kernels(Examples(x), validation=Examples(x[:50]))
    assert "100 of 250 training rows" in fitted.note
    assert fitted.train_log_prob(Examples(x)).shape == (100,)


@pytest.mark.parametrize("fit", [fit_gaussian, fit_kernels])
def test_density_integrates_to_one(fit) -> None:
    """Would catch any wrong constant, also in the conditional case, where it hides in a ratio."""
    rng = np.random.default_rng(0)
    c = rng.normal(size=(300, 1))
    y = np.sin(3 * c) + 0.3 * rng.normal(size=(300, 1))
    fitted = fit(Examples(y[:200], c[:200]), validation=Examples(y[200:], c[200:]))
    assert _mass(fitted, at=0.4) == pytest.approx(1.0, abs=1e-3)


def _mass(fitted, *, at: float) -> float:
    grid = np.linspace(-12, 12, 4001)[:, None]
    density = np.exp(fitted.log_prob(Examples(grid, np.full_like(grid, at))))
    return float(density.sum() * (grid[1, 0] - grid[0, 0]))


def test_twins_with_an_error_fail() -> None:
    """Would catch checks above that any density passes: here a scale, a sign and a mean are off."""
    x = _correlated(5000)
    fitted = fit_gaussian(Examples(x), validation=Examples(x[:500]))
    reference = stats.multivariate_normal(x.mean(0), np.cov(x.T, bias=True)).logpdf(x)
    for twin in (
        dataclasses.replace(fitted, factors=fitted.factors * 1.01),
        dataclasses.replace(fitted, means=-fitted.means),
        dataclasses.replace(fitted, means=fitted.means + [0.1, 0, 0]),
    ):
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(twin.log_prob(Examples(x)), reference)
    c, y = x[:300, :1], x[:300, 1:2]
    conditional = _unit_kernels(y, condition=c, bandwidth=0.7)
    wider = dataclasses.replace(conditional, bandwidth=0.71)
    good = conditional.log_prob(Examples(y, c))
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(wider.log_prob(Examples(y, c)), good)


def test_log_det_is_added() -> None:
    """Would catch likelihoods that stay in the coordinates of the fit."""
    x = _correlated(100)
    shifted = dataclasses.replace(Examples(x), log_det=np.arange(100.0))
    for fit in (fit_gaussian, fit_kernels):
        fitted = fit(Examples(x), validation=Examples(x))
        moved = fit(shifted, validation=shifted)
        difference = moved.log_prob(shifted) - fitted.log_prob(Examples(x))
        np.testing.assert_allclose(difference, np.arange(100.0), atol=1e-9)
