"""What the battery looks at: an item's values and derivatives on a few rows of numbers.

One compilation for each item and dtype gives all that some check needs.
"""

import functools
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree
from registry import REAL, Domain, Item

from flowjax_lite.bijectors import AbstractBijector
from flowjax_lite.distributions import AbstractBase, Flow, FlowMixture

# Rows: ordinary values; two neighbours of row 0, for finite differences; extreme values; and
# values of 10 to 100, where numerical inverses are put to the test.
ORDINARY, PLUS, MINUS, EXTREME, INFINITE = slice(0, 4), 4, 5, slice(6, 12), slice(12, 14)
FAR = slice(14, 18)
STEP = 1e-5
TOLERANCE = {"float64": 1e-11, "float32": 3e-5}


class Map(NamedTuple):
    """One direction of a bijector on every row, and the way back."""

    value: np.ndarray  # (rows, dim)
    output: np.ndarray  # (rows, dim)
    log_det: np.ndarray  # (rows,)
    back: np.ndarray  # (rows, dim)
    back_log_det: np.ndarray  # (rows,)
    jacobian: np.ndarray  # (rows, dim, dim), transposed: [row, input, output]
    log_det_slope: np.ndarray  # (rows, dim)


class Score(NamedTuple):
    """A scalar function of value, condition and parameters on every row, and its derivatives.

    The directions are each entry of the value, and one that moves all inputs. The last two
    are measured in float64 alone.
    """

    value: np.ndarray  # (rows, dim)
    score: np.ndarray  # (rows,)
    gradient: np.ndarray  # (rows, inputs), by reverse mode
    slope: np.ndarray | None = None  # (rows, directions), by forward mode
    curvature: np.ndarray | None = None  # (rows, directions, inputs), forward over reverse mode


class Measured(NamedTuple):
    """What is known of one item in one dtype."""

    item: Item
    module: nnx.Module
    dtype: str
    condition: Array | None  # that of row 0
    direction: np.ndarray  # (inputs,), the one that moves all inputs of a score
    params: dict[str, slice]  # where each parameter lies among the inputs of a score
    maps: dict[str, Map]
    scores: dict[str, Score]

    @property
    def dim(self) -> int:
        """Length of the value that the module takes."""
        return input_dim(self.module)

    @property
    def tolerance(self) -> float:
        """What rounding may do to numbers of size one."""
        return TOLERANCE[self.dtype] * self.item.tolerance


@functools.cache
def measure(item: Item, dtype: str) -> Measured:
    """Build an item, randomise its parameters, and evaluate it; in float64 under `enable_x64`."""
    rng = np.random.default_rng(2)
    module = randomised(item.make(nnx.Rngs(0)))
    dim, shape = input_dim(module), module.condition_shape
    condition = None if shape is None else jnp.asarray(rng.normal(size=shape), dtype)
    _, params, _ = nnx.split(module, nnx.Param, ...)
    rest = np.asarray(ravel_pytree((condition, params))[0])
    direction = rng.normal(size=dim + rest.size) / math.sqrt(dim + rest.size)

    def rows(domain: Domain) -> Array:
        values = ordinary_and_extreme(domain, dim, rng)
        inputs = np.concatenate([values, np.tile(rest, (len(values), 1))], axis=1)
        inputs[PLUS] = inputs[0] + STEP * direction
        inputs[MINUS] = inputs[0] - STEP * direction
        return jnp.asarray(inputs, dtype)

    # A normal density squares its argument.
    moderate = item.data._replace(extremes=(-1e15, 1e15)) if item.data is REAL else item.data
    second_order = item.second_order and dtype == "float64"
    maps, scores = evaluate(
        module,
        condition,
        {
            "forward": rows(item.latent),
            "inverse": rows(item.data),
            "output": rows(item.data),
            "log_prob": rows(moderate),
        },
        jnp.asarray(np.vstack([np.eye(dim, dim + rest.size), direction])) if second_order else None,
    )
    places = {}
    stop = dim + rest.size - sum(leaf.size for leaf in jax.tree.leaves(params))
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        start, stop = stop, stop + leaf.size
        places[jax.tree_util.keystr(path)] = slice(start, stop)
    return Measured(item, module, dtype, condition, direction, places, maps, scores)


def evaluate(
    module: nnx.Module,
    condition: Array | None,
    rows: dict[str, Array],
    directions: Array | None,
) -> tuple[dict[str, Map], dict[str, Score]]:
    """Evaluate all functions of a module, one program for all.

    Args:
        module: the module.
        condition: one condition, for its shape.
        rows: inputs for each function: value, condition and parameters in one vector.
        directions: (directions, inputs); None leaves out all but the gradient.
    """
    graph, params, rest = nnx.split(module, nnx.Param, ...)
    dim = input_dim(module)
    _, unravel = ravel_pytree((jnp.zeros(dim), condition, params))

    def unpack(inputs: Array) -> tuple[Array, Array | None, nnx.Module]:
        value, condition, params = unravel(inputs)
        return value, condition, nnx.merge(graph, params, rest)

    def evaluate_map(name: str, inputs: Array) -> Map:
        value, condition, module = unpack(inputs)
        maps = bijector_maps(module)

        def along(tangent: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
            return jax.jvp(lambda value: maps[name](value, condition), (value,), (tangent,))

        (output, log_det), slopes = jax.vmap(along, out_axes=(None, 0))(jnp.eye(dim))
        back = maps["inverse" if name == "forward" else "forward"](output, condition)
        return Map(value, output, log_det, *back, *slopes)

    def evaluate_score(name: str, inputs: Array) -> Score:
        def score(inputs: Array) -> Array:
            value, condition, module = unpack(inputs)
            return score_functions(module)[name](value, condition)

        def along(tangent: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
            return jax.jvp(jax.value_and_grad(score), (inputs,), (tangent,))

        if directions is None:
            return Score(inputs[:dim], *jax.value_and_grad(score)(inputs))
        values, slopes = jax.vmap(along, out_axes=(None, 0))(directions)
        return Score(inputs[:dim], *values, *slopes)

    @jax.jit
    def evaluate_all(rows: dict[str, Array]) -> tuple[dict[str, Map], dict[str, Score]]:
        def each(function: Callable, names: Iterable[str]) -> dict:
            return {name: jax.vmap(functools.partial(function, name))(rows[name]) for name in names}

        return each(evaluate_map, bijector_maps(module)), each(
            evaluate_score, score_functions(module)
        )

    return jax.tree.map(np.asarray, evaluate_all(rows))


def randomised(module: nnx.Module, *, scale: float = 0.2) -> nnx.Module:
    """The module with every parameter moved by noise, as training would move it."""
    graph, params, rest = nnx.split(module, nnx.Param, ...)
    flat, unravel = ravel_pytree(params)
    noise = scale * np.random.default_rng(1).normal(size=flat.size)
    return nnx.merge(graph, unravel(flat + jnp.asarray(noise, flat.dtype)), rest)


def bijector_maps(module: nnx.Module) -> dict[str, Callable]:
    """Both directions of a bijector, or of a flow's."""
    bijector = module.bijector if isinstance(module, Flow) else module
    if not isinstance(bijector, AbstractBijector):
        return {}
    return {"forward": bijector.forward_and_log_det, "inverse": bijector.inverse_and_log_det}


def score_functions(module: nnx.Module) -> dict[str, Callable]:
    """The scalar functions whose derivatives are checked: for a bijector, a log-density."""

    def with_logistic_base(function: Callable) -> Callable:
        def score(value: Array, condition: Array | None) -> Array:
            output, log_det = function(value, condition)
            # Its gradient stays bounded where that of a normal density overflows.
            return log_det - jnp.sum(jax.nn.softplus(output) + jax.nn.softplus(-output))

        return score

    match module:
        case AbstractBijector():
            return {name: with_logistic_base(f) for name, f in bijector_maps(module).items()}
        case Flow() | FlowMixture() | AbstractBase():
            return {"log_prob": module.log_prob}
    return {"output": lambda value, condition: jnp.sum(jnp.sin(module(value, condition)))}


def input_dim(module: nnx.Module) -> int:
    """Length of the value that a module takes."""
    if hasattr(module, "event_shape"):
        return module.event_shape[0]
    return module.dim if hasattr(module, "dim") else module.in_dim


def ordinary_and_extreme(domain: Domain, dim: int, rng: np.random.Generator) -> np.ndarray:
    """One value for each row; see the constants above."""
    rows = rng.uniform(domain.low, domain.high, size=(INFINITE.stop, dim))
    for row, extreme in zip((6, 9), domain.extremes, strict=True):
        rows[row, 0] = rows[row + 1, -1] = rows[row + 2] = extreme
    if domain is REAL:
        rows[INFINITE, 0] = -math.inf, math.inf
        sign = np.where(np.arange(4 * dim).reshape(4, dim) % 3 == 0, -1, 1)
        return np.vstack([rows, sign * np.geomspace(10, 100, 4 * dim).reshape(4, dim)])
    return np.vstack([rows, rows[:4]])
