"""The `flow` section: a named flow and its options, as the signature of its factory says them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from flax import nnx

import flowjax_lite as fl
from flowjax_lite.cli.config.options import REQUIRED, Option, options_of
from flowjax_lite.cli.errors import FieldError, did_you_mean
from flowjax_lite.distributions import AbstractBase

BASES: dict[str, Callable[[int, nnx.Rngs], AbstractBase]] = {
    "standard_normal": lambda dim, rngs: fl.distributions.StandardNormal(dim),
    "diagonal_normal": lambda dim, rngs: fl.distributions.DiagonalNormal(dim),
    "student_t": lambda dim, rngs: fl.distributions.StudentT(dim),
    "uniform": lambda dim, rngs: fl.distributions.Uniform(dim),
    "gaussian_mixture": lambda dim, rngs: fl.distributions.GaussianMixture(
        dim, num_components=10, rngs=rngs
    ),
}
# Names that stand for the objects that a factory takes.
_CHOICES: dict[str, Collection[str]] = {
    "base": BASES,
    "activation": fl.conditioners.ACTIVATIONS,
}
# What follows from the data and the seed.
_AUTOMATIC = {"dim", "condition_dim", "data_map", "condition_map", "rngs"}
# Of layers, widths and the like: where products of sizes overflow, XLA ends the process.
_MAX_SIZE = 1_000_000

FAMILY = Option("family", (str,), fl.flows.NAMED, REQUIRED, "The name of the flow.")


@cache
def flow_options(family: str) -> dict[str, Option]:
    """Return the options of a family that a config may give."""
    options = options_of(fl.flows.NAMED[family], _CHOICES)
    return {name: option for name, option in options.items() if name not in _AUTOMATIC}


@dataclass(frozen=True, init=False)
class FlowConfig:
    """Which flow. An option left out, or None, has the default of the family.

    Args:
        family: The name of the flow, as in `flowjax_lite.flows.NAMED`.
        options: The options of its factory.

    Raises:
        FieldError: The family or a choice is unknown, the family does not take an option, or a
            size is no size.
    """

    family: str
    options: Mapping[str, Any]

    def __init__(self, family: str, **options: Any):
        FAMILY.check(family)
        known = flow_options(family)
        options = {name: value for name, value in options.items() if value is not None}
        for name, value in options.items():
            if name not in known:
                hint = did_you_mean(name, known)
                raise FieldError(
                    name, f"{family} does not take it{hint}; it takes {', '.join(known)}"
                )
            known[name].check(value)
            _check_sizes(name, value)
        object.__setattr__(self, "family", family)
        object.__setattr__(self, "options", options)


def _check_sizes(name: str, value: Any) -> None:
    """Raise a `FieldError` for numbers that no option takes; the factory checks the rest."""
    if isinstance(value, tuple):
        if name != "circular":  # which counts columns from 0
            sizes = all(0 < size <= _MAX_SIZE for size in value)
            _require(name, value != () and sizes, "widths such as [64, 64]", list(value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _require(name, value > 0, "a positive number", value)
        _require(name, value <= _MAX_SIZE or isinstance(value, float), "at most 1,000,000", value)


def _require(name: str, holds: bool, expected: str, got: Any) -> None:
    if not holds:
        raise FieldError(name, f"expected {expected}, got {got!r}")
