"""What is measured: the flows, and what every framework must be able to do with them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

BATCH, LEARNING_RATE = 512, 1e-4
NUM_BINS, BOUND = 8, 5.0
# For rounding errors every parameter is this times a standard normal, in every framework: at
# their starting points flows differ, and the identity rounds nothing.
PARAMETER_SCALE = 0.06
FIT_ROWS, FIT_EPOCHS, FIT_BATCH, FIT_VALIDATION = 10_000, 20, 100, 0.1


@dataclass(frozen=True)
class Case:
    """An architecture: ReLU networks, and a change of order after each layer.

    Attributes:
        autoregressive: masked autoregressive layers; otherwise half/half couplings.
        spline: rational-quadratic splines; otherwise shift and scale.
        num_layers: number of layers.
        hidden: widths of each layer's network.
    """

    autoregressive: bool
    spline: bool
    num_layers: int
    hidden: tuple[int, ...]

    def __str__(self) -> str:
        layer = "MAF" if self.autoregressive else "coupling"
        scalar = "RQ splines" if self.spline else "affine"
        return f"{layer} {scalar} {self.num_layers}×({','.join(map(str, self.hidden))})"


CASES = {
    "maf": Case(True, False, 5, (256, 256)),
    "coupling": Case(False, False, 8, (256, 256)),
    "coupling_rqs": Case(False, True, 8, (128, 128)),
    "maf_rqs": Case(True, True, 5, (128, 128)),
}
FIT_CASE, FIT_DIM = Case(False, False, 8, (50,)), 8


class Peer(ABC):
    """One flow in one framework, where the framework starts it.

    Attributes:
        name: the framework's, as the tables have it.
        packages: those whose versions the report names.
        difference: what is not as in the other frameworks, in one sentence, or empty.
        compiled: whether its calls are compiled.
        num_parameters: number of trained numbers.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    difference: ClassVar[str] = ""
    compiled: ClassVar[bool]
    num_parameters: int

    @abstractmethod
    def __init__(self, case: Case, dim: int) -> None: ...

    @staticmethod
    @abstractmethod
    def wait(result: Any) -> object:
        """Return when a result has been computed."""

    @staticmethod
    def compilations() -> int:
        """Number of compilations in this process so far."""
        return 0

    @abstractmethod
    def calls(self, x: np.ndarray) -> dict[str, Callable[[], object]]:
        """What to time: "log_prob" and "step" on the batch x, "sample" of as many events."""

    @abstractmethod
    def rounding_error(self, x: np.ndarray) -> float:
        """Largest difference of log_prob from the same model in float64, in nats.

        The parameters of both are drawn anew, as `PARAMETER_SCALE` says.
        """

    @abstractmethod
    def fit(self, x: np.ndarray) -> None:
        """Train on the rows x for `FIT_EPOCHS` with validation, as the framework's users do."""
