"""What a program of JAX is made of."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend.core import JaxprEqn, jaxprs_in_params

# Primitives of the library, of which programs show no inside.
OURS = ("convolution", "product_of_rows")


def equations(function: Callable, *inputs: Any) -> list[JaxprEqn]:
    """Every operation of a function of these inputs, also of those inside of others."""
    return list(_within(jax.make_jaxpr(function)(*inputs).jaxpr))


def _within(jaxpr: Any) -> Iterator[JaxprEqn]:
    for equation in jaxpr.eqns:
        yield equation
        if equation.primitive.name in OURS:
            function = functools.partial(equation.primitive.impl, **equation.params)
            inputs = [variable.aval for variable in equation.invars]
            yield from _within(jax.make_jaxpr(function)(*inputs).jaxpr)
        for inner in jaxprs_in_params(equation.params):
            yield from _within(inner)
