"""What all frameworks share: the equations, their weights, the rows; no framework."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

BATCH, HIDDEN, FREQUENCIES, LEARNING_RATE = 512, (64, 64, 64), 3, 1e-3
GAIN = 1.5  # of the weights: a trained flow takes about as many steps


@dataclass(frozen=True)
class Case:
    """An equation.

    Attributes:
        dim: number of entries of an event.
        tolerance: rtol and atol.
    """

    dim: int
    tolerance: float


CASES = {
    **{f"dim {dim}": Case(dim, 1e-5) for dim in (2, 8, 32, 63)},
    **{f"tolerance {tolerance:g}": Case(8, tolerance) for tolerance in (1e-3, 1e-4, 1e-6)},
}


def rows(case: Case) -> np.ndarray:
    """The data, (BATCH, dim)."""
    return np.random.default_rng(0).standard_normal((BATCH, case.dim), np.float32)


def weights(case: Case) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights (in, out) and biases (out,) of each layer; inputs are cos, sin and the event."""
    rng = np.random.default_rng(1)
    widths = (2 * FREQUENCIES + case.dim, *HIDDEN, case.dim)
    return [
        (
            (GAIN * rng.standard_normal((a, b)) / np.sqrt(a)).astype(np.float32),
            (0.1 * rng.standard_normal(b)).astype(np.float32),
        )
        for a, b in pairwise(widths)
    ]


class Peer(ABC):
    """One framework and one equation, which leads from the data to the latent in time 0 to 1."""

    @abstractmethod
    def __init__(self, case: Case) -> None:
        """Build the flow, its optimizer and its rows."""

    @abstractmethod
    def log_prob(self) -> np.ndarray:
        """Exact log-densities of the rows."""

    @abstractmethod
    def evaluations(self) -> float:
        """How often `log_prob` evaluates the velocity."""

    @abstractmethod
    def calls(self) -> dict[str, Callable[[], object]]:
        """What is timed: "log_prob" and "step"."""

    @staticmethod
    @abstractmethod
    def wait(result: object) -> None:
        """Return when a result has been computed."""
