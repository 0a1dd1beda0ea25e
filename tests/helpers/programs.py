"""What a program of JAX is made of."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend.core import JaxprEqn, jaxprs_in_params


def equations(function: Callable, *inputs: Any) -> list[JaxprEqn]:
    """Every operation of a function of these inputs, also of those inside of others."""
    return list(_within(jax.make_jaxpr(function)(*inputs).jaxpr))


def _within(jaxpr: Any) -> Iterator[JaxprEqn]:
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from _within(inner)
