"""What an item of the registry is, and the sizes that all items share."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from flax import nnx

# Equal sizes everywhere: the operations of one item, once compiled, serve the next.
DIM, CONDITION_DIM, HIDDEN = 3, 2, (8,)
# A network without kinks has derivatives that finite differences can follow.
SMOOTH = "tanh"


class Domain(NamedTuple):
    """Where one side of a map lives.

    Attributes:
        low: lower end of the interval that ordinary values are drawn from.
        high: upper end.
        extremes: finite values at which nothing may turn to NaN.
        outside: a number below and one above, neither of which has an image; None where all have.
    """

    low: float
    high: float
    extremes: tuple[float, ...]
    outside: tuple[float, float] | None = None


REAL = Domain(-2.5, 2.5, (-1e30, 1e30))
POSITIVE = Domain(0.2, 3.0, (1e-30, 1e30), (-1.0, -1e-3))
LOGARITHMIC = Domain(-2.5, 2.5, (-80.0, 80.0))  # its exponential is representable
UNIT = Domain(0.05, 0.95, (1e-30, 1 - 1e-7), (-1e-3, 3.0))
# Ordinary values keep away from the cut at ±π, where a round trip may end a full turn away.
CIRCLE = Domain(-2.5, 2.5, (-math.pi, 1e30))
SYMMETRIC = Domain(-0.9, 0.9, (-1 + 1e-7, 1 - 1e-7), (-2.0, 1.001))


@dataclass(frozen=True)
class Item:
    """How to build one thing, and what may be asked of it.

    Attributes:
        make: builds it.
        latent: the domain of x = f⁻¹(y).
        data: the domain of y = f(x).
        tolerance: multiplies the tolerances of each dtype, where f is badly conditioned.
        dtypes: the precisions that it is tried in.
        second_order: whether to check second derivatives too, in float64.
        eager: whether to run it once under `vmap` and without `jit`, in float32.
        recorded: whether a file alone can rebuild it.
    """

    make: Callable[[nnx.Rngs], nnx.Module]
    latent: Domain = REAL
    data: Domain = REAL
    tolerance: float = 1.0
    dtypes: tuple[str, ...] = ("float64", "float32")
    second_order: bool = True
    eager: bool = True
    recorded: bool = True
