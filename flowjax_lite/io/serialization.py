"""Saving a flow to one self-describing file, and loading it; no file can run code."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flowjax_lite.core.pytree import named_leaves
from flowjax_lite.core.recipe import Recipe, build, from_json, num_parts, to_json, total_size
from flowjax_lite.distributions import Flow
from flowjax_lite.io import model_file

# What the whole numbers of a recipe may add up to in a file of few numbers: room for settings
# that are in no array, such as the largest number of a solver's steps.
_FREE_SIZE = 2**17
# How many calls and widths a recipe may have in a file of few arrays, how many more for each
# array, and how many at most. A layer has an array at least, but for maps such as an exponential.
_FREE_PARTS, _PARTS_AN_ARRAY, _MAX_PARTS = 128, 4, 2**13


def save(path: str | os.PathLike[str], flow: Flow, *, overwrite: bool = False) -> None:
    """Write a flow to one safetensors file, whole or not at all.

    The file holds every array under its place in the flow, such as `bijector/layers/0/kernel`,
    the recipe that rebuilds the flow, and a checksum.

    Args:
        path: the file to write; its directory must exist.
        flow: the flow.
        overwrite: whether an existing file may be replaced.

    Raises:
        FileExistsError: the file exists, and overwrite is False.
        FileNotFoundError: the directory does not exist.
        TypeError: it is no flow, or an array has a dtype that the format cannot hold.
    """
    if not isinstance(flow, Flow):
        raise TypeError(
            f"flow is a {type(flow).__name__}; expected a Flow: of a FlowMixture, save each "
            f"member(i), and mix the loaded ones again"
        )
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists; give another path, or replace it with save(..., overwrite=True)"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the directory {path.parent} does not exist; create it first")
    leaves = named_leaves(flow)
    for name, leaf in leaves.items():
        if str(leaf.dtype) not in model_file.DTYPES:
            raise TypeError(
                f"{name} has dtype {leaf.dtype}; a model file holds {sorted(model_file.DTYPES)}: "
                f"cast the array, and keep random keys out of modules"
            )
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in leaves.items()}
    model_file.write(path, arrays, recipe=to_json(_faithful_recipe(flow)))


def load(path: str | os.PathLike[str], *, template: Flow | None = None) -> Flow:
    """Read a flow that `save` wrote; the file may come from a stranger.

    No file can run code, or take more than twice its own size of memory for its arrays: the recipe
    names registered constructors alone, and they are traced, and their shapes compared with the
    arrays of the file, before there is any flow.

    Args:
        path: the file.
        template: a flow built like the saved one. It is needed only where the flow was built
            by hand from parts that a recipe cannot describe; it is not changed.

    Returns:
        The flow, every array with the bits and the dtype that were saved.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, newer than this library, or no model; or the template
            is missing or differs from the saved flow.
    """
    path = Path(path)
    text, arrays = model_file.read(path)
    _check_dtypes_enabled(path, arrays)
    try:
        recipe = from_json(text)
    except ValueError as error:
        raise ValueError(
            f"{path} holds no recipe that can be read ({error}); save the flow again"
        ) from error
    if template is None:
        if recipe is None:
            raise ValueError(
                f"{path} holds a flow without a recipe; build a flow in the same way and pass "
                f"it: load(path, template=flow)"
            )
        target, origin = _rebuild(path, recipe, arrays), f"the recipe {recipe}"
    else:
        _check_same_recipe(path, recipe, template.recipe)
        target, origin = template, "the template"
    expected = named_leaves(target)
    _check_same_arrays(path, arrays, expected, origin, same_dtype=template is not None)
    leaves = [jnp.array(arrays[name]) for name in expected]
    flow: Flow = jax.tree.unflatten(jax.tree.structure(target), leaves)
    return flow


def _abstract(recipe: Recipe) -> Flow:
    """The flow that a recipe builds, with shapes in place of arrays: no initialiser runs."""
    flow: Flow = jax.eval_shape(lambda: build(recipe, nnx.Rngs(0)))
    return flow


def _rebuild(path: Path, recipe: Recipe, arrays: Mapping[str, np.ndarray]) -> Flow:
    """The flow that a stranger's recipe builds, with shapes in place of arrays."""
    size, held = total_size(recipe), sum(array.size for array in arrays.values())
    if size > max(held, _FREE_SIZE):
        raise ValueError(
            f"{path} holds {held} numbers, and a recipe whose sizes add up to {size}, which cannot "
            f"be theirs; if you trust the file, build the flow and pass it: "
            f"load(path, template=flow)"
        )
    parts = num_parts(recipe)
    if parts > min(_FREE_PARTS + _PARTS_AN_ARRAY * len(arrays), _MAX_PARTS):
        raise ValueError(
            f"{path} holds {len(arrays)} arrays, and a recipe of {parts} calls and widths, which "
            f"would take long to follow; if you trust the file, build the flow and pass it: "
            f"load(path, template=flow)"
        )
    try:
        flow = _abstract(recipe)
    except Exception as error:  # any constructor with any arguments
        raise ValueError(
            f"{path} holds the recipe {recipe}, which cannot be built ({error}); use the version "
            f"of the library that wrote it"
        ) from error
    if not isinstance(flow, Flow):
        raise ValueError(f"{path} holds the recipe {recipe}, which builds no flow; save a flow")
    return flow


def _faithful_recipe(flow: Flow) -> Recipe | None:
    """The flow's recipe, unless the flow was changed by hand after it was built."""
    recipe = flow.recipe
    if recipe is None:
        return None
    rebuilt = _abstract(recipe)
    if nnx.graphdef(rebuilt) == nnx.graphdef(flow) and _shapes(rebuilt) == _shapes(flow):
        return recipe
    warnings.warn(
        f"the flow was changed after it was built, so its recipe {recipe} does not describe it; "
        f"it is saved without one and loads into a template: load(path, template=flow)",
        stacklevel=3,
    )
    return None


def _shapes(flow: Flow) -> list[tuple[int, ...]]:
    return [leaf.shape for leaf in jax.tree.leaves(flow)]


def _check_dtypes_enabled(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
            raise ValueError(
                f"{path}: array {name!r} has dtype {array.dtype}, which JAX would cut to 32 "
                f"bits; first call jax.config.update('jax_enable_x64', True)"
            )


def _check_same_recipe(path: Path, saved: Recipe | None, given: Recipe | None) -> None:
    # Equal shapes do not make equal flows: a spline's bound is in no array.
    if saved is not None and given is not None and saved != given:
        raise ValueError(
            f"{path} holds {saved}, and the template is {given}; build the template in the same "
            f"way, or load without one"
        )


def _check_same_arrays(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    expected: Mapping[str, Any],
    origin: str,
    *,
    same_dtype: bool,
) -> None:
    def describe(leaf: Any) -> str:
        if leaf is None:
            return "missing"
        return f"{leaf.dtype}{list(leaf.shape)}" if same_dtype else str(list(leaf.shape))

    for name in sorted({*arrays, *expected}):
        got, want = describe(arrays.get(name)), describe(expected.get(name))
        if got != want:
            raise ValueError(
                f"{path}: array {name!r} is {got} in the file; {origin} expects {want}: build "
                f"the flow as it was when saved"
            )
