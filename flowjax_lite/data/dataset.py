"""What every loader returns: three splits and the facts needed to report on them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of one part of a data set.

    Args:
        x: Data, `(n, d)` float32.
        condition: Conditions of the same rows, `(n, c)` float32, or None.

    Raises:
        ValueError: An array is not of rank 2, or the numbers of rows differ.
    """

    x: np.ndarray
    condition: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 2:
            raise ValueError(f"x has shape {self.x.shape}; expected (n, d).")
        if self.condition is not None and (
            self.condition.ndim != 2 or len(self.condition) != len(self.x)
        ):
            raise ValueError(
                f"condition has shape {self.condition.shape}; expected ({len(self.x)}, c), one row "
                "for each row of x."
            )

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named data set in three parts.

    Args:
        name: What reports call it.
        train: Rows to fit.
        validation: Rows that choose the best epoch.
        test: Rows that are scored once, at the end.
        columns: Names of the d columns of x.
        condition_columns: Names of the c columns of the condition; empty without one.
        image_shape: (height, width) where a row of x is a grey image.
        num_levels: Number of grey levels, where x holds dequantised levels scaled to [0, 1].
    """

    name: str
    train: Split
    validation: Split
    test: Split
    columns: tuple[str, ...]
    condition_columns: tuple[str, ...] = ()
    image_shape: tuple[int, int] | None = None
    num_levels: int | None = None

    @property
    def dim(self) -> int:
        """Number of columns of x."""
        return self.train.x.shape[1]

    def bits_per_dim(self, log_prob: ArrayLike) -> np.ndarray:
        """Convert log-densities of x to bits per dimension of the grey levels.

        A level occupies 1 / num_levels of the unit interval, so the density of x is num_levels
        times that of the levels, in each dimension.

        Args:
            log_prob: Log-densities in nats, any shape.

        Returns:
            `(-log_prob / d + log num_levels) / log 2`, the same shape.

        Raises:
            ValueError: The data are not dequantised levels.
        """
        if self.num_levels is None:
            raise ValueError(
                f"{self.name} does not hold dequantised grey levels (num_levels is None), so bits "
                "per dimension mean nothing here; report nats."
            )
        nats = -np.asarray(log_prob) / self.dim + math.log(self.num_levels)
        return nats / math.log(2)
