"""Saving a flow to one self-describing file, and loading it; no file can run code."""

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax import nnx

from flowjax_lite.distributions import Flow
from flowjax_lite.numerics.recipe import Recipe, build, from_json, to_json
from flowjax_lite.numerics.tree import named_leaves

_FORMAT = "flowjax_lite"
_FORMAT_VERSION = 1
_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}


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
        TypeError: an array has a dtype that the format cannot hold.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists; give another path, or replace it with save(..., overwrite=True)"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the directory {path.parent} does not exist; create it first")
    leaves = named_leaves(flow)
    for name, leaf in leaves.items():
        if str(leaf.dtype) not in _DTYPES.values():
            raise TypeError(
                f"{name} has dtype {leaf.dtype}; a model file holds {sorted(_DTYPES.values())}: "
                f"cast the array, and keep random keys out of modules"
            )
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in leaves.items()}
    metadata = {
        "format": _FORMAT,
        "format_version": str(_FORMAT_VERSION),
        "library_version": _library_version(),
        "recipe": to_json(_faithful_recipe(flow)),
    }
    metadata["sha256"] = _checksum(metadata, arrays)
    _write_whole(path, safetensors.numpy.save(arrays, metadata))


def load(path: str | os.PathLike[str], *, template: Flow | None = None) -> Flow:
    """Read a flow that `save` wrote.

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
    metadata, arrays = _read(path)
    _check_dtypes_enabled(path, arrays)
    recipe = from_json(metadata["recipe"])
    if template is None:
        if recipe is None:
            raise ValueError(
                f"{path} holds a flow without a recipe; build a flow in the same way and pass "
                f"it: load(path, template=flow)"
            )
        target, origin = _abstract(recipe), f"the recipe {recipe}"
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


def _checksum(metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The metadata and the arrays of a file, once its checksum agrees."""
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a directory; give the model file inside it")
    if not path.exists():
        raise FileNotFoundError(f"there is no model file {path}; check the path")
    content = path.read_bytes()
    try:
        tensors = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is not a whole flowjax_lite model ({error}): it was cut off or damaged, or "
            f"is another kind of file; copy or save it again"
        ) from error
    header_size = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + header_size]).get("__metadata__", {})
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{path} is a safetensors file, but not a flowjax_lite model; expected one that "
            f"flowjax_lite.save wrote"
        )
    _check_format_version(path, metadata)
    stated = metadata.pop("sha256", None)
    if any(tensor["dtype"] not in _DTYPES for _, tensor in tensors):
        raise _damaged(path)
    arrays = {
        name: np.ndarray(tensor["shape"], jnp.dtype(_DTYPES[tensor["dtype"]]), tensor["data"])
        for name, tensor in tensors
    }
    if _checksum(metadata, arrays) != stated:
        raise _damaged(path)
    return metadata, arrays


def _damaged(path: Path) -> ValueError:
    return ValueError(f"{path} is damaged: its checksum does not agree; copy or save it again")


def _check_format_version(path: Path, metadata: Mapping[str, str]) -> None:
    # Comes before the checksum, which a newer format may compute in another way.
    written = metadata.get("format_version", "")
    if not written.isdecimal():
        raise _damaged(path)
    if int(written) > _FORMAT_VERSION:
        raise ValueError(
            f"{path} was written by a newer flowjax_lite ({metadata.get('library_version')}, "
            f"format {written}); this one reads format {_FORMAT_VERSION}: upgrade flowjax-lite"
        )


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


def _library_version() -> str:
    try:
        return version("flowjax-lite")
    except PackageNotFoundError:  # run from a checkout, without an installation
        return "unknown"
