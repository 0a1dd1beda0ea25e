"""The rows that a baseline is fitted to, and what all baselines have in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Examples:
    """Rows in the coordinates in which a density is fitted.

    Args:
        x: (n, d), events.
        condition: (n, c), their conditions, if any.
        log_det: (n,), the log-determinant of the map from the data's units to these coordinates:
            added to a log-density of x, it gives that of the data. Without it, there is no map.
    """

    x: Rows
    condition: Rows | None = None
    log_det: Rows | float = 0.0

    def __getitem__(self, rows: Any) -> "Examples":
        condition = None if self.condition is None else self.condition[rows]
        log_det = self.log_det if isinstance(self.log_det, float) else self.log_det[rows]
        return Examples(self.x[rows], condition, log_det)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def joint(self) -> Rows:
        """(n, c + d), condition and event side by side."""
        return self.x if self.condition is None else np.hstack([self.condition, self.x])

    @property
    def condition_dim(self) -> int:
        """The number c of columns of the condition, 0 without one."""
        return 0 if self.condition is None else self.condition.shape[1]

    def thinned(self, most: int, generator: np.random.Generator) -> "Examples":
        """Return all rows, or a random choice of `most` in their order."""
        if len(self) <= most:
            return self
        return self[np.sort(generator.choice(len(self), most, replace=False))]


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
        """Return log p(y | c) of every example in the data's units, (n,)."""

    def train_log_prob(self, train: Examples) -> Rows:
        """Return the same for the training examples, without letting a row predict itself."""


def covariances(train: Examples, shrinkages: Sequence[float]) -> Iterator[tuple[Rows, str]]:
    """Yield the covariance of the joint rows, shrunk to its diagonal and to the identity.

    Args:
        train: The training examples.
        shrinkages: From 0, the sample covariance, to 1, the target: its diagonal, or a multiple
            of the identity.

    Yields:
        The lower Cholesky factor of each, (c + d, c + d), and how it was shrunk, for a table. One
        that is singular is left out.
    """
    sample = np.atleast_2d(np.cov(train.joint, rowvar=False, bias=True))
    targets = {
        "its diagonal": np.diag(np.diag(sample)),
        "the identity": np.eye(len(sample)) * np.trace(sample) / len(sample),
    }
    for name, target in targets.items():
        for a in shrinkages:
            try:
                factor = np.linalg.cholesky((1 - a) * sample + a * target)
            except np.linalg.LinAlgError:
                continue  # Fewer rows than columns, and no shrinkage.
            yield factor, f", shrunk {a:g} to {name}" if a else ""
