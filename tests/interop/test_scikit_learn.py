"""Estimators: all that scikit-learn asks of them, in its own checks, and what they estimate."""

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
import polars
import pytest
from flax import nnx
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import flowjax_lite as fl
from flowjax_lite.bijectors import Affine
from flowjax_lite.distributions import ConditionalNormal, Flow, StandardNormal
from flowjax_lite.interop import FlowClassifier, FlowDensity, FlowOutlierDetector, scikit_learn


@dataclass(frozen=True)
class Gaussian:
    """Builds independent normals, one for each condition, which compile in no time."""

    def __call__(self, *, dim: int, rngs: nnx.Rngs, condition_dim: int | None = None) -> Flow:
        if condition_dim is None:
            return Flow(StandardNormal(dim), Affine(dim))
        base = ConditionalNormal(dim, condition_dim=condition_dim, hidden=(4,), rngs=rngs)
        return Flow(base, Affine(dim))


TINY: dict[str, Any] = {
    "flow": Gaussian(),
    "num_layers": None,
    "hidden": None,
    "max_epochs": 10,
    "learning_rate": 0.1,
    "noise": 0.0,
    "validation": None,
    "random_state": 0,
}
RNG = np.random.default_rng(0)
X = 100 + RNG.normal(size=(64, 2)) * [5.0, 2.0]


def _fit_on_64_rows(flow: fl.Flow, x: np.ndarray, *, condition: Any, **settings: Any) -> Any:
    """`fit` on the first 64 rows, or on fewer again and again: one program for each dimension."""
    x = np.resize(x, (64, x.shape[1]))
    if condition is not None:
        condition = np.resize(condition, (64, condition.shape[1]))
    return fl.fit(flow, x, condition=condition, **settings)


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([FlowDensity(**TINY), FlowOutlierDetector(**TINY), FlowClassifier(**TINY)])
def test_scikit_learn_finds_nothing(estimator, check, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches what scikit-learn knows of: clones, names, dtypes, messages, pickles, accuracy."""
    monkeypatch.setattr(scikit_learn, "fit", _fit_on_64_rows)
    check(estimator)


@pytest.fixture(scope="module")
def density() -> FlowDensity:
    """Of 64 rows around (100, 100)."""
    return FlowDensity(**TINY).fit(X)


def test_log_densities_are_in_the_units_of_the_data(density: FlowDensity) -> None:
    """Catches a spread that is left out of the density, or has the wrong sign."""
    scores = density.score_samples(X)
    expected = -0.5 * np.log(2 * np.pi * np.e * X.var(axis=0)).sum()
    assert abs(scores.mean() - expected) < 0.1
    scaled = FlowDensity(**TINY).fit(10 * X)
    np.testing.assert_allclose(scaled.score_samples(10 * X), scores - 2 * np.log(10), atol=1e-3)
    assert density.score(X) == scores.mean()


def test_a_score_does_not_depend_on_other_rows(density: FlowDensity) -> None:
    """Catches programs of other shapes, which round differently, and rows that change places."""
    many = np.concatenate([X] * 5)  # more than are scored at a time
    scores = density.score_samples(many)
    np.testing.assert_array_equal(scores, np.tile(scores[:64], 5))
    np.testing.assert_array_equal(density.score_samples(X[7:8]), scores[7:8])


def test_far_rows_have_no_density_and_are_not_nan(density: FlowDensity) -> None:
    """Catches squares that overflow."""
    scores = density.score_samples([[1e5, 0.0], [1e30, 1e30], [-1e300, 0.0]])
    assert (scores < -1e6).all()


@pytest.mark.parametrize("library", [pandas, polars])
def test_frames_come_back_as_frames(library: Any, density: FlowDensity) -> None:
    """Catches names that are lost or change places."""
    frame = library.DataFrame({"a": X[:, 0], "b": X[:, 1] - 50})
    fitted = FlowDensity(**TINY).fit(frame)
    samples = fitted.sample(2000, random_state=1)
    assert type(samples) is library.DataFrame and list(samples.columns) == ["a", "b"]
    np.testing.assert_allclose(samples.to_numpy().mean(axis=0), [100, 50], atol=2)
    assert type(density.sample(3)) is np.ndarray
    with pytest.raises(ValueError, match="feature names"):
        fitted.score_samples(frame[["b", "a"]])


def test_it_is_chosen_by_a_grid_search_in_a_pipeline(density: FlowDensity) -> None:
    """Catches settings that a clone loses, and a score where lower is better."""
    pipeline = make_pipeline(StandardScaler(), clone(density))
    grid = {"flowdensity__noise": [3.0, 0.0]}  # the first makes the density far too wide
    search = GridSearchCV(pipeline, grid, cv=2).fit(X)
    assert search.best_params_ == {"flowdensity__noise": 0.0}
    worse, better = search.cv_results_["mean_test_score"]
    assert worse < better - 0.1


def test_pickles_score_alike() -> None:
    """Catches functions inside a flow that cannot be pickled, and members that get lost."""
    settings = TINY | {"flow": "maf", "num_layers": 1, "hidden": (4,), "max_epochs": 1}
    ensemble = FlowDensity(**settings | {"num_members": 2}).fit(X)
    assert len(ensemble.model_) == 2 and len(ensemble.model_.member(0).layers()) == 2
    copy = pickle.loads(pickle.dumps(ensemble))
    np.testing.assert_array_equal(copy.score_samples(X), ensemble.score_samples(X))


def test_noise_makes_a_density_of_any_columns() -> None:
    """Catches noise that is not handed on; without it, the twin, there is no density."""
    flat = np.column_stack([X, X[:, 0], np.ones(64)])
    with pytest.raises(ValueError, match="column"):
        FlowDensity(**TINY).fit(flat)
    fitted = FlowDensity(**TINY | {"noise": 0.5}).fit(flat)
    across = flat + [[0.0, 0.0, 200.0, 0.0]]
    assert (fitted.score_samples(flat) > fitted.score_samples(across)).all()


def test_outliers_are_where_the_density_is_low() -> None:
    """Catches a sign or a threshold on the wrong side."""
    detector = FlowOutlierDetector(**TINY, contamination=0.25).fit(X)
    scores = detector.score_samples(X)
    np.testing.assert_array_equal(detector.predict(X) == -1, scores < detector.offset_)
    assert (detector.predict(X) == -1).sum() == 16
    assert detector.predict([[100.0, 100.0], [100.0, 130.0]]).tolist() == [1, -1]
    p = fl.inference.p_values(-detector.score_samples([[100.0, 130.0]]), -scores)
    np.testing.assert_allclose(p, 1 / 65)


def test_classes_follow_bayes_rule() -> None:
    """Catches priors and labels in another order, and a condition that the flow does not see."""
    means = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    labels = np.array(["c", "a", "b"])
    index = np.arange(63) % 3
    x = means[index] + RNG.normal(size=(63, 2))
    fitted = FlowClassifier(**TINY | {"max_epochs": 40}).fit(x, labels[index])
    assert fitted.classes_.tolist() == ["a", "b", "c"]
    assert fitted.score(x, labels[index]) > 0.9
    assert fitted.predict(means).tolist() == ["c", "a", "b"]
    probabilities = fitted.predict_proba(x)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert (fitted.score_samples(means) > fitted.score_samples(means + 20)).all()

    priors = np.array([0.2, 0.5, 0.3])
    other = FlowClassifier(**TINY | {"max_epochs": 40}, priors=priors).fit(x, labels[index])
    expected = probabilities * priors
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(other.predict_proba(x), expected, rtol=1e-4, atol=1e-8)


def test_mistakes_are_named() -> None:
    """Catches settings that fail deep inside, or not at all."""
    with pytest.raises(ValueError, match="Did you mean nsf_coupling"):
        FlowDensity("nsf_couplin").fit(X)
    with pytest.raises(ValueError, match=r"contamination is 0\.7"):
        FlowOutlierDetector(contamination=0.7).fit(X)
    with pytest.raises(ValueError, match="expected 2 numbers of sum 1"):
        FlowClassifier(priors=[0.5, 0.6]).fit(X, np.arange(64) % 2)
    with pytest.raises(TypeError, match=r"num_members is 0\.5"):
        FlowDensity(num_members=0.5).fit(X)
