"""Honest baselines for a density: a Gaussian with full covariance and a kernel estimate.

Both are fitted to the training rows and choose their settings on the validation rows. A condition
c is put beside the event y, and log p(y | c) = log p(c, y) - log p(c): for the Gaussian that is
linear regression, for the kernels the ratio of the joint to the marginal estimate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]

GAUSSIAN_SHRINKAGES = (0.0, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
KERNEL_SHRINKAGES = (0.01, 0.03, 0.1, 0.3, 1.0)
BANDWIDTHS = np.geomspace(0.005, 2.0, 16)
FINER = np.geomspace(0.67, 1.5, 9)
MAX_CENTRES = 5000
MAX_CHOOSING = 500
_CHUNK = 512


@dataclass(frozen=True)
class Examples:
    """Rows in the coordinates in which a density is fitted.

    Args:
        x: Events, `(n, d)`.
        condition: Their conditions, `(n, c)`, or None.
        log_det: The log-determinant of the map from the data's units to these coordinates,
            `(n,)`: added to a log-density of x, it gives that of the data.
    """

    x: Rows
    condition: Rows | None
    log_det: Rows

    def take(self, rows: Any) -> "Examples":
        """Return some of the rows."""
        condition = None if self.condition is None else self.condition[rows]
        return Examples(self.x[rows], condition, self.log_det[rows])

    def beside(self) -> Rows:
        """Return condition and event side by side, `(n, c + d)`."""
        return self.x if self.condition is None else np.hstack([self.condition, self.x])

    def __len__(self) -> int:
        return len(self.x)


class Baseline(Protocol):
    """A fitted density."""

    @property
    def name(self) -> str:
        """A short name, for a table."""

    @property
    def note(self) -> str:
        """The settings that were chosen."""

    @property
    def num_parameters(self) -> int:
        """How many numbers were fitted."""

    def log_prob(self, examples: Examples) -> Rows:
        """Return log p(y | c) of every example in the data's units, `(n,)`."""

    def train_log_prob(self, train: Examples) -> Rows:
        """Return the same for the training examples, without letting a row predict itself."""


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian of the condition and the event side by side.

    Args:
        mean: `(c + d,)`.
        shape: The covariance.
    """

    mean: Rows
    shape: "Shape"

    @property
    def name(self) -> str:
        return "Gaussian"

    @property
    def note(self) -> str:
        return f"full covariance{self.shape.note}"

    @property
    def num_parameters(self) -> int:
        joint, c = len(self.mean), self.shape.condition_dim
        return joint + joint * (joint + 1) // 2 - c - c * (c + 1) // 2

    def log_prob(self, examples: Examples) -> Rows:
        white = self.shape.whiten(examples.beside() - self.mean)[:, self.shape.condition_dim :]
        return examples.log_det - 0.5 * (white**2).sum(1) - self.shape.log_normalizer

    def train_log_prob(self, train: Examples) -> Rows:
        return self.log_prob(train)


@dataclass(frozen=True)
class Kernels:
    """A kernel density estimate: one Gaussian on each kept training row.

    Args:
        kept: The m kept rows.
        shape: The covariance of the kernels, up to the bandwidth.
        bandwidth: The factor on the kernels' standard deviations.
        num_train: The number of training rows, of which m were kept.
    """

    kept: Examples
    shape: "Shape"
    bandwidth: float
    num_train: int

    @property
    def name(self) -> str:
        return "KDE"

    @property
    def note(self) -> str:
        kept = f"{len(self.kept)} of {self.num_train} training rows"
        return f"bandwidth {self.bandwidth:.2g} × covariance{self.shape.note}; {kept}"

    @property
    def num_parameters(self) -> int:
        return self.kept.beside().size

    def log_prob(self, examples: Examples) -> Rows:
        return self._scan(examples, [self.bandwidth], leave_out=False)[0]

    def train_log_prob(self, train: Examples) -> Rows:
        del train  # Each kept row is scored under the kernels of all the others.
        return self._scan(self.kept, [self.bandwidth], leave_out=True)[0]

    def choose_bandwidth(self, examples: Examples, bandwidths: Rows) -> "tuple[float, Kernels]":
        """Return the best mean log p of the examples, and the estimate that gives it."""
        scores = self._scan(examples, bandwidths, leave_out=False).mean(1)
        best = int(np.argmax(scores))
        return float(scores[best]), replace(self, bandwidth=float(bandwidths[best]))

    def _scan(
        self, examples: Examples, bandwidths: Sequence[float] | Rows, *, leave_out: bool
    ) -> Rows:
        """Return log p of examples under every bandwidth, `(len(bandwidths), n)`."""
        kept = self.kept.beside()
        middle = kept.mean(0)  # Distances between numbers near zero lose no digits.
        centres, white = (self.shape.whiten(z - middle) for z in (kept, examples.beside()))
        parts = [
            self._chunk(
                white[start : start + _CHUNK], centres, bandwidths, start if leave_out else None
            )
            for start in range(0, len(white), _CHUNK)
        ]
        return examples.log_det + np.concatenate(parts, axis=1)

    def _chunk(
        self, white: Rows, centres: Rows, bandwidths: Sequence[float] | Rows, skip: int | None
    ) -> Rows:
        # Whitened, the condition comes first and depends on the condition alone, so that the
        # marginal kernel is the same kernel on fewer coordinates.
        c = self.shape.condition_dim
        marginal = _squared_distances(white[:, :c], centres[:, :c])
        joint = marginal + _squared_distances(white[:, c:], centres[:, c:])
        if skip is not None:  # Row i of the chunk is centre skip + i.
            own = np.arange(len(white)), skip + np.arange(len(white))
            marginal[own] = joint[own] = np.inf
        logs = _log_sums(joint, bandwidths) - _log_sums(marginal, bandwidths)
        d = white.shape[1] - c
        return logs - d * np.log(bandwidths)[:, None] - self.shape.log_normalizer


@dataclass(frozen=True)
class Shape:
    """A covariance of the condition and the event side by side, factored.

    Args:
        factor: The lower Cholesky factor, `(c + d, c + d)`.
        condition_dim: c, zero without a condition.
        note: How it was shrunk, for a table.
    """

    factor: Rows
    condition_dim: int
    note: str

    def whiten(self, z: Rows) -> Rows:
        """Return rows with unit covariance; the first c columns depend on the condition alone."""
        return np.asarray(np.linalg.solve(self.factor, z.T).T, np.float64)

    @property
    def log_normalizer(self) -> float:
        """The log of the integral of exp(-|w|²/2) over the event, w its whitened columns."""
        scales = np.diag(self.factor)[self.condition_dim :]
        return float(np.log(scales).sum() + 0.5 * len(scales) * np.log(2 * np.pi))


def fit_gaussian(train: Examples, *, validation: Examples) -> Gaussian:
    """Fit the Gaussian whose shrinkage scores best on the validation examples.

    Args:
        train: The training examples.
        validation: The examples on which the shrinkage is chosen.

    Returns:
        The Gaussian.
    """
    mean = train.beside().mean(0)
    candidates = [Gaussian(mean, shape) for shape in _shapes(train, GAUSSIAN_SHRINKAGES)]
    return max(candidates, key=lambda each: each.log_prob(validation).mean())


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
    kept = thin(train, MAX_CENTRES, generator)
    choosing = thin(validation, MAX_CHOOSING, generator)
    candidates = []
    for shape in _shapes(train, KERNEL_SHRINKAGES):
        kernels = Kernels(kept, shape, 1.0, len(train))
        candidates.append(kernels.choose_bandwidth(choosing, BANDWIDTHS))
    _, best = max(candidates, key=lambda each: each[0])
    return best.choose_bandwidth(choosing, best.bandwidth * FINER)[1]


def _shapes(train: Examples, shrinkages: Sequence[float]) -> Iterator[Shape]:
    """Yield the sample covariance shrunk to its diagonal and to a multiple of the identity."""
    z = train.beside()
    sample = np.atleast_2d(np.cov(z, rowvar=False, bias=True))
    targets = {
        "its diagonal": np.diag(np.diag(sample)),
        "the identity": np.eye(len(sample)) * np.trace(sample) / len(sample),
    }
    for name, target in targets.items():
        for a in shrinkages:
            note = f", shrunk {a:g} to {name}" if a else ""
            try:
                factor = np.linalg.cholesky((1 - a) * sample + a * target)
            except np.linalg.LinAlgError:
                continue  # Fewer rows than columns, and no shrinkage.
            yield Shape(factor, z.shape[1] - train.x.shape[1], note)


def thin(examples: Examples, most: int, generator: np.random.Generator) -> Examples:
    """Return all examples, or a random choice of `most` in their order."""
    if len(examples) <= most:
        return examples
    return examples.take(np.sort(generator.choice(len(examples), most, replace=False)))


def _squared_distances(a: Rows, b: Rows) -> Rows:
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.maximum(squares, 0.0)


def _log_sums(distances: Rows, bandwidths: Sequence[float] | Rows) -> Rows:
    """Return log Σ_j exp(-distances_ij / 2h²) for every bandwidth h, `(len(bandwidths), n)`."""
    nearest = distances.min(1)
    further = nearest[:, None] - distances
    rows = [np.log(np.exp(further / (2 * h**2)).sum(1)) - nearest / (2 * h**2) for h in bandwidths]
    return np.stack(rows)
