"""What the battery looks at: an item's values and derivatives on a few rows of numbers.

One compilation for each item and dtype gives all that some check needs.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from battery.functions import Derive, Evaluation, Result, derivatives, functions_of
from battery.registry import REAL, Domain, Item
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree

# Rows: ordinary values; two neighbours of row 0, for finite differences; extreme values;
# values of 10 to 100, where numerical inverses are put to the test; and, where a map does not have
# an image for every number, two rows with an entry outside of its domain and one with NaN.
ORDINARY, PLUS, MINUS, EXTREME, INFINITE = slice(0, 4), 4, 5, slice(6, 12), slice(12, 14)
FAR = slice(14, 18)
OUTSIDE, MISSING = slice(18, 20), 20
STEP = 1e-5
TOLERANCE = {"float64": 1e-11, "float32": 3e-5}


class Measured(NamedTuple):
    """What is known of one item in one dtype."""

    item: Item
    module: nnx.Module
    dtype: str
    condition: Array | None  # that of row 0
    direction: np.ndarray  # (inputs,), the one that moves all inputs of a score
    params: dict[str, slice]  # where each parameter lies among the inputs of a score
    maps: dict[str, Evaluation]
    scores: dict[str, Evaluation]

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
    leaves = [np.ravel(leaf) for leaf in jax.tree.leaves((condition, params))]
    rest = np.concatenate([np.empty(0, dtype), *leaves])
    direction = rng.normal(size=dim + rest.size) / math.sqrt(dim + rest.size)

    def rows(domain: Domain) -> np.ndarray:
        values = ordinary_and_extreme(domain, dim, rng)
        inputs = np.concatenate([values, np.tile(rest, (len(values), 1))], axis=1)
        inputs[PLUS] = inputs[0] + STEP * direction
        inputs[MINUS] = inputs[0] - STEP * direction
        return inputs.astype(dtype)

    data = item.data
    if data is REAL and hasattr(module, "log_prob"):
        data = data._replace(extremes=(-1e15, 1e15))  # a normal density squares its argument
    derive = derivatives(module, second_order=item.second_order and dtype == "float64")
    evaluated = evaluate(
        module,
        condition,
        {name: rows(item.latent if name == "forward" else data) for name in derive},
        np.vstack([np.eye(dim, dim + rest.size), direction]).astype(dtype),
        derive,
    )
    places = {}
    stop = dim + rest.size - sum(leaf.size for leaf in jax.tree.leaves(params))
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        start, stop = stop, stop + leaf.size
        places[jax.tree_util.keystr(path)] = slice(start, stop)
    maps = {name: each for name, each in evaluated.items() if each.output is not None}
    scores = {name: each for name, each in evaluated.items() if each.score is not None}
    return Measured(item, module, dtype, condition, direction, places, maps, scores)


def evaluate(
    module: nnx.Module,
    condition: Array | None,
    rows: dict[str, np.ndarray],
    directions: np.ndarray,
    derive: dict[str, Derive],
) -> dict[str, Evaluation]:
    """Evaluate all functions of a module, and bring back what maps give, by one program.

    Args:
        module: the module.
        condition: one condition, for its shape.
        rows: inputs for each function: value, condition and parameters in one vector.
        directions: (directions, inputs).
        derive: how each one is differentiated.
    """
    graph, params, rest = nnx.split(module, nnx.Param, ...)
    dim = input_dim(module)

    @jax.jit
    def evaluate_all(rows: dict[str, Array]) -> dict[str, Evaluation]:
        _, unravel = ravel_pytree((condition, params))

        def function(name: str, value: Array, others: Array) -> Result:
            condition, params = unravel(others)
            return functions_of(nnx.merge(graph, params, rest))[name](value, condition)

        def evaluate_one(name: str) -> Evaluation:
            # Row by row, as tracing takes long where derivatives are mapped over rows as well.
            result, derivatives = jax.lax.map(
                lambda inputs: derive[name](functools.partial(function, name), inputs, directions),
                rows[name],
            )
            return Evaluation(rows[name][:, :dim], *result, **derivatives)

        return {name: evaluate_one(name) for name in derive}

    evaluated = jax.tree.map(np.asarray, evaluate_all(rows))
    if "inverse" in evaluated:
        opposite = {"forward": "inverse", "inverse": "forward"}
        given = {
            name: np.concatenate([evaluated[other].output, rows[other][:, dim:]], axis=1)
            for name, other in opposite.items()
        }
        again = jax.tree.map(np.asarray, evaluate_all(given))
        for name, other in opposite.items():
            back = again[other]
            evaluated[name] = evaluated[name]._replace(back=back.output, back_log_det=back.log_det)
    return evaluated


def randomised(module: nnx.Module, *, scale: float = 0.2) -> nnx.Module:
    """The module with every parameter moved by noise, as training would move it."""
    graph, params, rest = nnx.split(module, nnx.Param, ...)
    random = np.random.default_rng(1)

    def moved(leaf: Array) -> Array:
        noise = (scale * random.normal(size=leaf.shape)).astype(leaf.dtype)
        if isinstance(leaf, jax.core.Tracer):
            return leaf + noise
        return jax.device_put(np.asarray(leaf) + noise)  # no program for each shape

    return nnx.merge(graph, jax.tree.map(moved, params), rest)


def input_dim(module: nnx.Module) -> int:
    """Length of the value that a module takes."""
    if hasattr(module, "event_shape"):
        return module.event_shape[0]
    return module.dim if hasattr(module, "dim") else module.in_dim


def ordinary_and_extreme(domain: Domain, dim: int, rng: np.random.Generator) -> np.ndarray:
    """One value for each row; see the constants above."""
    rows = rng.uniform(domain.low, domain.high, size=(MISSING + 1, dim))
    for row, extreme in zip((6, 9), domain.extremes, strict=True):
        rows[row, 0] = rows[row + 1, -1] = rows[row + 2] = extreme
    if domain is REAL:
        rows[INFINITE, 0] = -math.inf, math.inf
        sign = np.where(np.arange(4 * dim).reshape(4, dim) % 3 == 0, -1, 1)
        rows[FAR] = sign * np.geomspace(10, 100, 4 * dim).reshape(4, dim)
    if domain.outside is not None:
        rows[OUTSIDE, 0], rows[MISSING, 0] = domain.outside, math.nan
    return rows
