"""Flows as estimators of scikit-learn: of a density, of outliers, of classes."""

import importlib
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from flax import nnx
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin, DensityMixin, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from flowjax_lite.core.checks import check_positive_int, default_dtype, listed, suggest
from flowjax_lite.distributions import Flow, FlowMixture
from flowjax_lite.flows import NAMED
from flowjax_lite.losses import negative_log_likelihood, noise_regularized
from flowjax_lite.training import fit, fit_ensemble

# Rows that are scored at a time. All calls run in one program, so that a row's score has the same
# bits whatever rows stand beside it, and another number of rows compiles nothing.
_ROWS = 256
# In spreads of a column, beyond which the squares of float32 overflow: the density is 0 there.
_FAR = 1e9
_DTYPES = [np.float64, np.float32]  # others become the first


class _FlowEstimator(BaseEstimator):
    """Settings that all estimators share, and what they do with them."""

    def __init__(
        self,
        flow: str | Callable[..., Flow] = "nsf_coupling",
        *,
        num_layers: int | None = 4,
        hidden: tuple[int, ...] | None = (64, 64),
        num_members: int = 1,
        noise: float = 0.0,
        max_epochs: int = 100,
        patience: int | None = 20,
        learning_rate: float = 1e-3,
        batch_size: int | None = None,
        validation: float | None = 0.1,
        progress: bool = False,
        random_state: Any = None,
    ) -> None:
        self.flow = flow
        self.num_layers = num_layers
        self.hidden = hidden
        self.num_members = num_members
        self.noise = noise
        self.max_epochs = max_epochs
        self.patience = patience
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.validation = validation
        self.progress = progress
        self.random_state = random_state

    def _train(self, x: np.ndarray, condition: np.ndarray | None = None) -> None:
        """Standardise the columns, and train flows on them."""
        num_members = check_positive_int(self.num_members, "num_members")
        seed = int(check_random_state(self.random_state).randint(2**31))
        self.loc_, spread = x.mean(axis=0), x.std(axis=0)
        # What varies in a constant column is rounding.
        constant = spread <= 4 * np.finfo(x.dtype).eps * np.abs(self.loc_)
        self.scale_ = np.where(constant, 1.0, spread)
        options: dict[str, Any] = {"num_layers": self.num_layers, "hidden": self.hidden}
        options = {name: value for name, value in options.items() if value is not None}
        if condition is not None:
            options["condition_dim"] = condition.shape[1]
        build = _factory(self.flow)
        flows = [
            build(dim=x.shape[1], rngs=nnx.Rngs(seed + i), **options) for i in range(num_members)
        ]
        validation = self.validation
        if isinstance(validation, float) and 0 < validation < 1:
            validation = max(1, round(validation * len(x)))  # one row at least
        settings: dict[str, Any] = {
            "key": seed,
            "condition": condition,
            "loss": noise_regularized(scale=self.noise) if self.noise else negative_log_likelihood,
            "learning_rate": self.learning_rate,
            "batch_size": self.batch_size,
            "max_epochs": self.max_epochs,
            "patience": self.patience,
            "validation": validation,
            # With noise a density fits any columns.
            "checks": "off" if self.noise else "error",
            "progress": self.progress,
        }
        z = self._standardized(x)
        self.model_: Flow | FlowMixture
        if num_members == 1:
            self.model_ = fit(flows[0], z, **settings).flow
        else:
            self.model_ = fit_ensemble(flows, z, **settings).mixture

    def _standardized(self, x: np.ndarray) -> np.ndarray:
        # In x's own precision, which tells rows far from zero apart.
        z = np.clip((x - self.loc_) / self.scale_, -_FAR, _FAR)
        return z.astype(default_dtype())

    def _log_density(self, x: np.ndarray, condition: np.ndarray | None = None) -> np.ndarray:
        """log p(x), or log p(x | condition), in the units of x: (rows,)."""
        z = self._standardized(x)
        index = np.minimum(np.arange(-(-len(z) // _ROWS) * _ROWS), len(z) - 1)
        log_p = self.model_.log_prob(z[index], condition, batch_size=_ROWS)[: len(z)]
        return np.asarray(log_p, np.float64) - np.log(self.scale_).sum()

    def _rows(self, X: Any) -> np.ndarray:
        """Rows to score, checked against those of `fit`."""
        check_is_fitted(self)
        return validate_data(self, X, dtype=_DTYPES, reset=False)


class FlowDensity(DensityMixin, _FlowEstimator):
    """A density, as `KernelDensity` of scikit-learn, by a flow or an ensemble of flows.

    Columns are standardised, and log-densities are in the units of the data. Use it in pipelines
    and in `GridSearchCV`, which compares the mean log-density of rows held out.

    Args:
        flow: a name of `flows.NAMED`; or a function that builds a flow, called with dim, rngs and
            those of the following two that are not None, such as
            `functools.partial(fl.flows.maf, activation="silu")`.
        num_layers: number of layers; None is the flow's own default.
        hidden: widths of the hidden layers; None as before, and for flows without networks.
        num_members: number of flows that differ in their seeds, whose mixture is the density.
        noise: standard deviation of Gaussian noise on the rows of each step, in standard
            deviations of each column; see `losses.noise_regularized`. Where it is 0, columns that
            are constant, or that others determine, are an error: they have no density.
        max_epochs: as for `fit`, also the following five.
        patience: as there.
        learning_rate: as there.
        batch_size: as there.
        validation: as there: a fraction of the rows, their number, or None.
        progress: as there.
        random_state: seed, `RandomState` or None, of the initial weights and of all of training.

    Attributes:
        model_: the flow, or the mixture, of standardised rows.
        loc_: (n_features_in_,), what is taken from each column before the model.
        scale_: (n_features_in_,), by what each column is then divided.
        n_features_in_: number of columns.
        feature_names_in_: their names, where `fit` was given a frame.

    Example:
        >>> import numpy as np, flowjax_lite as fl
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> density = fl.interop.FlowDensity(max_epochs=2, random_state=0).fit(X)
        >>> density.score_samples(X).shape
        (100,)
    """

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on rows.

        Args:
            X: (rows, columns), an array or a frame.
            y: ignored.

        Raises:
            ValueError: cells are NaN or infinite, there is a single row, or as `fit` of this
                library.
        """
        x = validate_data(self, X, dtype=_DTYPES, ensure_min_samples=2)
        frame = type(X).__module__.partition(".")[0]
        self._frame = frame if frame in ("pandas", "polars") else None
        self._train(x)
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """The log-density of each row of X, (rows,), in nats."""
        return self._log_density(self._rows(X))

    def score(self, X: Any, y: Any = None) -> float:
        """The mean log-density of rows; higher is better."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Independent samples of the density.

        Args:
            n_samples: their number.
            random_state: seed, `RandomState` or None.

        Returns:
            (n_samples, columns); a frame like that of `fit`, where it was given one with names.
        """
        check_is_fitted(self)
        seed = int(check_random_state(random_state).randint(2**31))
        z = np.asarray(self.model_.sample(seed, n_samples), np.float64)
        x = self.loc_ + self.scale_ * z
        names = getattr(self, "feature_names_in_", None)
        if names is None or self._frame is None:
            return x
        columns = dict(zip(names, x.T, strict=True))
        return importlib.import_module(self._frame).DataFrame(columns)


class FlowOutlierDetector(OutlierMixin, _FlowEstimator):
    """Rows where the density is low, as `IsolationForest` of scikit-learn finds them.

    By scikit-learn's convention scores are higher for normal rows; `inference.anomaly_scores` has
    the opposite sign. `inference.p_values(-detector.score_samples(X), -detector.score_samples(H))`
    are calibrated p-values, with H normal rows that `fit` was not given.

    Args:
        flow: as for `FlowDensity`, also the following two.
        contamination: the part of the rows of `fit` that is to be called outliers, in (0, 0.5].
        num_layers: as for `FlowDensity`.
        hidden: as there.
        num_members: as there.
        noise: as there.
        max_epochs: as for `fit`, also the following five.
        patience: as there.
        learning_rate: as there.
        batch_size: as there.
        validation: as there.
        progress: as there.
        random_state: as for `FlowDensity`.

    Attributes:
        offset_: the log-density below which a row is an outlier.
        model_: as of `FlowDensity`, also `loc_`, `scale_`, `n_features_in_`, `feature_names_in_`.

    Example:
        >>> import numpy as np, flowjax_lite as fl
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> detector = fl.interop.FlowOutlierDetector(max_epochs=2, random_state=0).fit(X)
        >>> detector.predict([[9.0, 9.0]])
        array([-1])
    """

    def __init__(
        self,
        flow: str | Callable[..., Flow] = "nsf_coupling",
        *,
        contamination: float = 0.1,
        num_layers: int | None = 4,
        hidden: tuple[int, ...] | None = (64, 64),
        num_members: int = 1,
        noise: float = 0.1,
        max_epochs: int = 100,
        patience: int | None = 20,
        learning_rate: float = 1e-3,
        batch_size: int | None = None,
        validation: float | None = 0.1,
        progress: bool = False,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            flow,
            num_layers=num_layers,
            hidden=hidden,
            num_members=num_members,
            noise=noise,
            max_epochs=max_epochs,
            patience=patience,
            learning_rate=learning_rate,
            batch_size=batch_size,
            validation=validation,
            progress=progress,
            random_state=random_state,
        )
        self.contamination = contamination

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on rows, most of them normal.

        Args:
            X: (rows, columns), an array or a frame.
            y: ignored.

        Raises:
            ValueError: contamination is out of range, or as `FlowDensity.fit`.
        """
        if not 0 < self.contamination <= 0.5:
            raise ValueError(
                f"contamination is {self.contamination}; expected a number in (0, 0.5], the part "
                f"of the rows that is to be called outliers"
            )
        x = validate_data(self, X, dtype=_DTYPES, ensure_min_samples=2)
        self._train(x)
        self.offset_ = float(np.quantile(self._log_density(x), self.contamination))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """The log-density of each row of X, (rows,), in nats; lower where a row is stranger."""
        return self._log_density(self._rows(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """By how much the log-density of each row exceeds the threshold; negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """For each row of X, -1 for an outlier and 1 for a normal row."""
        return np.where(self.decision_function(X) < 0, -1, 1)


class FlowClassifier(ClassifierMixin, _FlowEstimator):
    """Bayes' rule over one density for each class, by a flow whose condition is the class.

        p(class | x) ∝ p(x | class) · p(class)

    It also knows p(x), by which it can refuse a row that is like none of the classes.

    Args:
        flow: as for `FlowDensity`; a function is also given condition_dim.
        priors: (classes,), p(class) in the order of `classes_`; None is the part of the rows.
        num_layers: as for `FlowDensity`.
        hidden: as there.
        num_members: as there.
        noise: as there.
        max_epochs: as for `fit`, also the following five.
        patience: as there.
        learning_rate: as there.
        batch_size: as there.
        validation: as there.
        progress: as there.
        random_state: as for `FlowDensity`.

    Attributes:
        classes_: the labels, sorted.
        class_prior_: (classes,), p(class).
        model_: as of `FlowDensity`, also `loc_`, `scale_`, `n_features_in_`, `feature_names_in_`;
            its condition has a 1 at the place of the class, and 0 elsewhere.

    Example:
        >>> import numpy as np, flowjax_lite as fl
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> classifier = fl.interop.FlowClassifier(max_epochs=2, random_state=0)
        >>> classifier.fit(X, X[:, 0] > 0).predict_proba(X).shape
        (100, 2)
    """

    def __init__(
        self,
        flow: str | Callable[..., Flow] = "nsf_coupling",
        *,
        priors: Any = None,
        num_layers: int | None = 4,
        hidden: tuple[int, ...] | None = (64, 64),
        num_members: int = 1,
        noise: float = 0.1,
        max_epochs: int = 100,
        patience: int | None = 20,
        learning_rate: float = 1e-3,
        batch_size: int | None = None,
        validation: float | None = 0.1,
        progress: bool = False,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            flow,
            num_layers=num_layers,
            hidden=hidden,
            num_members=num_members,
            noise=noise,
            max_epochs=max_epochs,
            patience=patience,
            learning_rate=learning_rate,
            batch_size=batch_size,
            validation=validation,
            progress=progress,
            random_state=random_state,
        )
        self.priors = priors

    def fit(self, X: Any, y: Any) -> Self:
        """Train on rows with labels.

        Args:
            X: (rows, columns), an array or a frame.
            y: (rows,), the class of each.

        Raises:
            ValueError: y holds no classes, priors are no distribution over them, or as
                `FlowDensity.fit`.
        """
        x, y = validate_data(self, X, y, dtype=_DTYPES, ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_, index, counts = np.unique(y, return_inverse=True, return_counts=True)
        self.class_prior_ = counts / len(y) if self.priors is None else np.asarray(self.priors)
        shape, total = self.class_prior_.shape, self.class_prior_.sum()
        if shape != self.classes_.shape or (self.class_prior_ < 0).any() or abs(total - 1) > 1e-6:
            raise ValueError(
                f"priors is {self.priors}; expected {len(self.classes_)} numbers of sum 1, one for "
                f"each of the classes {listed(self.classes_)}"
            )
        self._train(x, np.eye(len(self.classes_), dtype=default_dtype())[index])
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row of X, (rows,)."""
        best = self._log_joint(X).argmax(axis=1)
        return self.classes_[best]

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """log p(class | x) of each row of X, (rows, classes)."""
        log_joint = self._log_joint(X)
        return log_joint - logsumexp(log_joint, axis=1, keepdims=True)

    def predict_proba(self, X: Any) -> np.ndarray:
        """p(class | x) of each row of X, (rows, classes)."""
        return np.exp(self.predict_log_proba(X))

    def score_samples(self, X: Any) -> np.ndarray:
        """log p(x) of each row of X, (rows,), in nats: low where a row is like no class."""
        return logsumexp(self._log_joint(X), axis=1)

    def _log_joint(self, X: Any) -> np.ndarray:
        """log p(x, class), (rows, classes)."""
        x = self._rows(X)
        conditions = np.eye(len(self.classes_), dtype=default_dtype())
        by_class = [self._log_density(x, condition) for condition in conditions]
        with np.errstate(divide="ignore"):  # a prior may be 0
            return np.stack(by_class, axis=1) + np.log(self.class_prior_)


def _factory(flow: Any) -> Callable[..., Flow]:
    """The function that builds a flow, from its name or itself.

    Raises:
        ValueError: no flow has that name.
    """
    if callable(flow):
        return flow
    if flow not in NAMED:
        raise ValueError(
            f"flow is {flow!r}; expected a function that builds one, or a name of fl.flows.NAMED."
            f"{suggest(str(flow), list(NAMED))}"
        )
    return NAMED[flow]
