"""The names and options that a config may give for a flow."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from flax import nnx

import flowjax_lite as fl
from flowjax_lite.cli.errors import FieldError, did_you_mean
from flowjax_lite.distributions import AbstractBase
from flowjax_lite.losses import Loss

BASES: dict[str, Callable[[int, nnx.Rngs], AbstractBase]] = {
    "standard_normal": lambda dim, rngs: fl.distributions.StandardNormal(dim),
    "diagonal_normal": lambda dim, rngs: fl.distributions.DiagonalNormal(dim),
    "student_t": lambda dim, rngs: fl.distributions.StudentT(dim),
    "uniform": lambda dim, rngs: fl.distributions.Uniform(dim),
    "gaussian_mixture": lambda dim, rngs: fl.distributions.GaussianMixture(
        dim, num_components=10, rngs=rngs
    ),
}
LOSSES: dict[str, Loss] = {
    "likelihood": fl.negative_log_likelihood,
    "regularized_likelihood": fl.regularized_likelihood(),
    "flow_matching": fl.flow_matching(),
    "optimal_transport": fl.flow_matching(coupling="optimal_transport"),
}
# Those whose value on rows held out is a negative log-likelihood.
LIKELIHOODS = ("likelihood", "regularized_likelihood")
_CHOICES: dict[str, Collection[str]] = {
    "base": BASES,
    "activation": fl.conditioners.ACTIVATIONS,
    "nonlinearity": fl.bijectors.PLANAR_NONLINEARITIES,
    "form": fl.bijectors.SYLVESTER_FORMS,
    "log_det": fl.bijectors.LOG_DETS,
    "divergence": fl.flows.DIVERGENCES,
    "method": fl.continuous.METHODS,
    "adjoint": fl.continuous.ADJOINTS,
    "gradient": fl.bijectors.GRADIENTS,
    "compute_dtype": fl.conditioners.COMPUTE_DTYPES,
}
# What follows from the data and the seed.
_NO_OPTIONS = {"dim", "condition_dim", "data_map", "condition_map", "rngs"}


def options(family: str) -> list[str]:
    """Return the options of a family, as the signature of its factory says."""
    parameters = inspect.signature(fl.flows.NAMED[family]).parameters
    return [name for name in parameters if name not in _NO_OPTIONS]


def check(family: str, given: Mapping[str, Any]) -> None:
    """Check names and options of a flow without building it.

    Args:
        family: The name of the family.
        given: The options.

    Raises:
        FieldError: The family or a named choice is unknown, or the family does not take an option.
    """
    check_name("family", family, fl.flows.NAMED)
    taken = options(family)
    for option in given:
        if option not in taken:
            raise FieldError(option, f"{family} does not take it; it takes {', '.join(taken)}")
    for field, known in _CHOICES.items():
        if field in given:
            check_name(field, given[field], known)


def check_name(field: str, name: str, known: Collection[str]) -> None:
    """Raise a `FieldError` with a suggestion unless the name is known."""
    if name not in known:
        hint = did_you_mean(name, known)
        raise FieldError(field, f"unknown {field} {name!r}{hint}; known: {', '.join(known)}")
