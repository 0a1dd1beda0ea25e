"""The functions of a module that the battery looks at, and how each is differentiated."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from flowjax_lite.bijectors import AbstractBijector
from flowjax_lite.distributions import AbstractBase, Flow, FlowMixture


class Result(NamedTuple):
    """What a function gives for one value: those of the three that it has."""

    score: Array | None  # (), a scalar whose derivatives are checked
    output: Array | None = None  # (dim,)
    log_det: Array | None = None  # ()


class Evaluation(NamedTuple):
    """A function of a module on every row, and its derivatives.

    Inputs are value, condition and parameters, in one vector. The directions are each entry of the
    value, and one that moves all inputs; where no second derivatives are taken, only the former.
    """

    value: np.ndarray  # (rows, dim)
    score: np.ndarray | None  # (rows,)
    output: np.ndarray | None  # (rows, dim)
    log_det: np.ndarray | None  # (rows,)
    back: np.ndarray | None = None  # (rows, dim), the output brought back
    back_log_det: np.ndarray | None = None  # (rows,)
    gradient: np.ndarray | None = None  # (rows, inputs), of the score, by reverse mode
    slope: np.ndarray | None = None  # (rows, directions), of the score, by forward mode
    output_slope: np.ndarray | None = None  # (rows, directions, dim)
    log_det_slope: np.ndarray | None = None  # (rows, directions)
    curvature: np.ndarray | None = None  # (rows, directions, inputs), forward over reverse mode

    @property
    def jacobian(self) -> np.ndarray | None:
        """Of a map (rows, dim, dim), transposed: [row, input, output]."""
        return None if self.output_slope is None else self.output_slope[:, : self.value.shape[1]]


# Of a function of the value (dim,) and the other inputs, at inputs, along directions.
Function = Callable[[Array, Array], Result]
Derive = Callable[[Function, Array, Array], tuple[Result, dict[str, Array | None]]]


def functions_of(module: nnx.Module) -> dict[str, Callable[[Array, Array | None], Result]]:
    """The functions of (value, condition) that are measured."""

    def as_map(function: Callable) -> Callable[[Array, Array | None], Result]:
        def result(value: Array, condition: Array | None) -> Result:
            output, log_det = function(value, condition)
            # A log-density. Its gradient stays bounded where that of a normal one overflows.
            base = jnp.sum(jax.nn.softplus(output) + jax.nn.softplus(-output))
            return Result(log_det - base, output, log_det)

        return result

    def as_score(function: Callable) -> Callable[[Array, Array | None], Result]:
        return lambda value, condition: Result(function(value, condition))

    match module:
        case AbstractBijector():
            return {
                "forward": as_map(module.forward_and_log_det),
                "inverse": as_map(module.inverse_and_log_det),
            }
        case Flow(bijector=bijector):
            return {
                "forward": lambda *inputs: Result(None, *bijector.forward_and_log_det(*inputs)),
                "inverse": lambda *inputs: Result(
                    module.log_prob(*inputs), *bijector.inverse_and_log_det(*inputs)
                ),
            }
        case FlowMixture() | AbstractBase():
            return {"log_prob": as_score(module.log_prob)}
    return {"output": as_score(lambda value, condition: jnp.sum(jnp.sin(module(value, condition))))}


def derivatives(module: nnx.Module, *, second_order: bool) -> dict[str, Derive]:
    """How each function of a module is differentiated: its score once or twice, and its map."""
    of_score = in_second_order if second_order else in_reverse_mode
    if isinstance(module, Flow):
        # The Jacobian of one direction is the inverse of the other's, and both come back.
        return {"forward": not_at_all, "inverse": of_score}
    return dict.fromkeys(functions_of(module), of_score)


def in_second_order(
    function: Function, inputs: Array, directions: Array
) -> tuple[Result, dict[str, Array | None]]:
    """A result, the gradient of its score, and derivatives of both along the directions."""
    dim = len(directions) - 1

    def score(inputs: Array) -> tuple[Array, Result]:
        result = function(inputs[:dim], inputs[dim:])
        return result.score, result

    def along(tangent: Array) -> Any:
        return jax.jvp(jax.value_and_grad(score, has_aux=True), (inputs,), (tangent,))

    values, slopes = jax.vmap(along, out_axes=(None, 0))(directions)
    (_, result), gradient = values
    (_, by), curvature = slopes
    return result, {"gradient": gradient, "curvature": curvature, **as_slopes(by)}


def in_reverse_mode(
    function: Function, inputs: Array, directions: Array
) -> tuple[Result, dict[str, Array | None]]:
    """A result, its derivatives by each entry of the value, and the gradient of its score."""
    dim = len(directions) - 1

    def twice(inputs: Array) -> tuple[Result, Result]:
        result = function(inputs[:dim], inputs[dim:])
        return result, result

    jacobian, result = jax.jacrev(twice, has_aux=True)(inputs)
    by = Result(None, *(None if by is None else by.T[:dim] for by in jacobian[1:]))
    return result, {"gradient": jacobian.score, **as_slopes(by)}


def not_at_all(
    function: Function, inputs: Array, directions: Array
) -> tuple[Result, dict[str, Array | None]]:
    """A result alone."""
    dim = len(directions) - 1
    return function(inputs[:dim], inputs[dim:]), {}


def as_slopes(by: Result) -> dict[str, Array | None]:
    """Derivatives along directions, by the names that a `Evaluation` has for them."""
    return {"slope": by.score, "output_slope": by.output, "log_det_slope": by.log_det}
