"""Fingerprints: equal for values built alike, different for values that compute other things."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.core.fingerprint import fingerprint


def flow(seed: int = 0, **options: Any) -> fl.Flow:
    """A flow with a list of modules, a dataclass and functions inside."""
    return fl.flows.nsf_coupling(dim=2, num_layers=1, hidden=(4,), rngs=nnx.Rngs(seed), **options)


def scaled(by: Any) -> Callable[[Any], Any]:
    """A function with a setting in its closure, which also knows itself."""

    def function(x: Any) -> Any:
        return by * x if x > 0 else function(-x)

    return function


# What is built alike twice, and what computes something else.
CASES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "activation": (flow, lambda: flow(activation="tanh")),
    "bound": (flow, lambda: flow(bound=4.0)),
    "precision": (flow, lambda: flow(compute_dtype="bfloat16")),
    "layers": (flow, lambda: flow(num_bins=4)),
    "optimizer": (lambda: optax.adam(1e-3), lambda: optax.adam(1e-3, b1=0.8)),
    "rate": (lambda: optax.sgd(1e-3), lambda: optax.sgd(2e-3)),
    "schedule": (
        lambda: optax.adam(optax.cosine_decay_schedule(1e-3, 10)),
        lambda: optax.adam(optax.cosine_decay_schedule(1e-3, 11)),
    ),
    "loss": (lambda: fl.negative_log_likelihood, lambda: fl.regularized_likelihood()),
    "price": (fl.regularized_likelihood, lambda: fl.regularized_likelihood(kinetic=0.5)),
    "closure": (lambda: scaled(1.0), lambda: scaled(2.0)),
    "array": (lambda: scaled(np.arange(3)), lambda: scaled(jnp.arange(3) + 1)),
    "code": (lambda: lambda x: x + 1, lambda: lambda x: x * 1),
    "constant": (lambda: lambda x: x + 1, lambda: lambda x: x + 2),
    "default": (lambda: lambda x, y=1: x + y, lambda: lambda x, y=2: x + y),
    "partial": (lambda: functools.partial(max, 1), lambda: functools.partial(max, 2)),
    "compiled": (lambda: jax.jit(scaled(1.0)), lambda: jax.jit(scaled(2.0))),
    "key": (lambda: scaled(jax.random.key(0)), lambda: scaled(jax.random.key(1))),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_built_alike_is_equal_and_nothing_else(case: str):
    """Catches a setting that is not seen, and an address in memory that is."""
    one, other = CASES[case]
    assert fingerprint(one()) == fingerprint(one())
    assert fingerprint(one()) != fingerprint(other())


def test_parameters_do_not_count():
    """Catches a run that is another one after its first step."""
    assert fingerprint(flow(0)) == fingerprint(flow(1))
