"""Saving a model to one self-describing file, and loading it; no file can run code."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flowjax_lite.core.fingerprint import fingerprint
from flowjax_lite.core.pytree import named_leaves
from flowjax_lite.core.recipe import (
    Recipe,
    RecordedModule,
    build,
    from_json,
    num_parts,
    recipe_of,
    to_json,
    total_size,
    unrecorded,
)
from flowjax_lite.io import model_file

Model = TypeVar("Model", bound=nnx.Module)

# What the whole numbers of a recipe may add up to in a file of few numbers: room for settings
# that are in no array, such as the largest number of a solver's steps.
_FREE_SIZE = 2**17
# How many calls and widths a recipe may have in a file of few arrays, how many more for each
# array, and how many at most. A layer has an array at least, but for maps such as an exponential.
_FREE_PARTS, _PARTS_AN_ARRAY, _MAX_PARTS = 128, 4, 2**13


def save(path: str | os.PathLike[str], model: nnx.Module, *, overwrite: bool = False) -> None:
    """Write a model to one safetensors file, whole or not at all.

    The file holds every array under its place in the model, such as `bijector/layers/0/kernel`,
    the recipe that rebuilds the model, and a checksum.

    Args:
        path: the file to write; its directory must exist.
        model: a flow, a mixture of flows, or a bijector, base or network alone.
        overwrite: whether an existing file may be replaced.

    Raises:
        FileExistsError: the file exists, and overwrite is False.
        FileNotFoundError: the directory does not exist.
        TypeError: it is no such model, or an array has a dtype that the format cannot hold.

    Warns:
        UserWarning: the file cannot be loaded without a template, and why.
    """
    if not isinstance(model, RecordedModule):
        raise TypeError(
            f"model is a {type(model).__name__}; expected a flow, or another module of a class "
            f"that derives from those of flowjax_lite"
        )
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists; give another path, or replace it with save(..., overwrite=True)"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the directory {path.parent} does not exist; create it first")
    leaves = named_leaves(model)
    for name, leaf in leaves.items():
        if str(leaf.dtype) not in model_file.DTYPES:
            raise TypeError(
                f"{name} has dtype {leaf.dtype}; a model file holds {sorted(model_file.DTYPES)}: "
                f"cast the array, and keep random keys out of modules"
            )
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in leaves.items()}
    recipe = recipe_of(model)
    obstacle = _obstacle(model, recipe, num_arrays=len(arrays))
    if obstacle is not None:
        warnings.warn(
            f"{path} will need a template: {obstacle}. Load it into a model that is built in the "
            f"same way: load(path, template=model)",
            stacklevel=2,
        )
    written = to_json(None if obstacle == _CHANGED else recipe)
    model_file.write(path, model_file.Content(written, fingerprint(model), arrays))


@overload
def load(path: str | os.PathLike[str]) -> Any: ...
@overload
def load(path: str | os.PathLike[str], *, template: Model) -> Model: ...


def load(path: str | os.PathLike[str], *, template: Any = None) -> Any:
    """Read a model that `save` wrote; the file may come from a stranger.

    No file can run code, or take more than twice its own size of memory for its arrays: the recipe
    names registered constructors alone, and they are traced, and their shapes compared with the
    arrays of the file, before there is any model.

    Args:
        path: the file.
        template: a model built like the saved one. It is needed only where `save` warned that it
            would be: for arguments that no file can hold. It is not changed.

    Returns:
        The model, every array with the bits and the dtype that were saved.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, newer than this library, or no model; or the template
            is missing or differs from the saved model.

    Warns:
        UserWarning: the template's settings seem to differ from those of the saved model.
    """
    path = Path(path)
    text, saved_fingerprint, arrays = model_file.read(path)
    _check_dtypes_enabled(path, arrays)
    try:
        recipe = from_json(text)
    except ValueError as error:
        raise ValueError(
            f"{path} holds no recipe that can be read ({error}); save the flow again"
        ) from error
    if template is None:
        target, origin = _rebuild(path, recipe, arrays), f"the recipe {recipe}"
    else:
        _check_same_recipe(path, recipe, recipe_of(template))
        target, origin = template, "the template"
    expected = named_leaves(target)
    _check_same_arrays(path, arrays, expected, origin, same_dtype=template is not None)
    if template is not None:
        _compare_fingerprints(path, saved_fingerprint, fingerprint(template))
    leaves = [jnp.array(arrays[name]) for name in expected]
    return jax.tree.unflatten(jax.tree.structure(target), leaves)


def _abstract(recipe: Recipe) -> Any:
    """What a recipe builds, with shapes in place of arrays: no initialiser runs."""
    return jax.eval_shape(lambda: build(recipe, nnx.Rngs(0)))


def _rebuild(path: Path, recipe: Recipe | None, arrays: Mapping[str, np.ndarray]) -> Any:
    """What a stranger's recipe builds, with shapes in place of arrays."""
    by_hand = "build the model in the same way and pass it: load(path, template=model)"
    if recipe is None:
        raise ValueError(f"{path} holds a model without a recipe; {by_hand}")
    for place, what in unrecorded(recipe):
        raise ValueError(f"{path} holds a model of which {place} is {what}; {by_hand}")
    too_long = _too_long(recipe, num_arrays=len(arrays))
    size, held = total_size(recipe), sum(array.size for array in arrays.values())
    if too_long is None and size > max(held, _FREE_SIZE):
        too_long = f"sizes in its recipe add up to {size}, which cannot be those of {held} numbers"
    if too_long is not None:
        raise ValueError(f"{path} will not be rebuilt: {too_long}; if you trust it, {by_hand}")
    try:
        model = _abstract(recipe)
    except Exception as error:  # any constructor with any arguments
        raise ValueError(
            f"{path} holds the recipe {recipe}, which cannot be built ({error}); use the version "
            f"of the library that wrote it"
        ) from error
    if not isinstance(model, nnx.Module):
        raise ValueError(f"{path} holds the recipe {recipe}, which builds no model; save a model")
    return model


def _too_long(recipe: Recipe, *, num_arrays: int) -> str | None:
    """Why a recipe may take long to repeat, in words; None if it does not."""
    parts = num_parts(recipe)
    if parts <= min(_FREE_PARTS + _PARTS_AN_ARRAY * num_arrays, _MAX_PARTS):
        return None
    return f"its recipe has {parts} calls and widths for {num_arrays} arrays, too many to follow"


_CHANGED = (
    "it was changed after it was built, or a class of it was defined again, so its recipe does not "
    "describe it"
)


def _obstacle(model: nnx.Module, recipe: Recipe | None, *, num_arrays: int) -> str | None:
    """Why a model cannot be loaded without a template, in words; None if it can."""
    if recipe is None:
        return "it is nested too deep, or its class has a constructor that cannot be followed"
    for place, what in unrecorded(recipe):
        return (
            f"{place} is {what}, which no file can hold; give activations by name or from jax.nn, "
            f"and parts of classes that derive from the abstract ones of flowjax_lite"
        )
    too_long = _too_long(recipe, num_arrays=num_arrays)
    if too_long is not None:
        return too_long
    rebuilt = _abstract(recipe)
    same = nnx.graphdef(rebuilt) == nnx.graphdef(model) and _shapes(rebuilt) == _shapes(model)
    return None if same else _CHANGED


def _shapes(model: nnx.Module) -> list[tuple[int, ...]]:
    return [leaf.shape for leaf in jax.tree.leaves(model)]


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
                f"the model as it was when saved"
            )


def _compare_fingerprints(path: Path, saved: str | None, given: str) -> None:
    # What a recipe does not tell: a function, or a part that was put in after the model was built.
    if saved is not None and saved != given:
        warnings.warn(
            f"{path} was saved from a model of other settings than the template's, such as its "
            f"activations, or of the same by other versions of Python and flax; if they are other "
            f"settings, what is loaded is another density: build the template in the same way",
            stacklevel=3,
        )
