"""A checksum of all that is fixed about a value: two that differ compute different things."""

import dataclasses
import functools
import hashlib
import json
import re
import types
from typing import Any

import jax
import numpy as np
from flax import nnx

# Their functions are known by name: a new version may write them otherwise.
_LIBRARIES = ("flowjax_lite", "flax", "jax", "jaxlib", "numpy", "optax")


def fingerprint(value: Any) -> str:
    """The type of a value and a checksum of its structure and settings, the same in each process.

    Of a module: its classes, static attributes, and the shapes and types of its variables, whose
    values do not count. Of a function: its name, defaults and what its closure holds, arrays by
    their content; of a function outside of the libraries also its code. Global variables that a
    function looks up do not count.
    """
    text = json.dumps(_described(value, ()))
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return f"{name} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _described(value: Any, outside: tuple[int, ...]) -> Any:
    """The value in terms of JSON.

    Args:
        value: what is described.
        outside: identities of the values that it lies in, to end where it holds itself.
    """
    if id(value) in outside:
        return "itself"
    inner = functools.partial(_described, outside=(*outside, id(value)))
    match value:
        case None | bool() | int() | float() | complex() | str() | bytes():
            return repr(value)
        case nnx.Variable():
            leaves = jax.tree.leaves(value)
            return [type(value).__qualname__, [[leaf.shape, str(leaf.dtype)] for leaf in leaves]]
        case np.ndarray() | np.generic() | jax.Array():
            if isinstance(value, jax.Array) and jax.dtypes.issubdtype(
                value.dtype, jax.dtypes.prng_key
            ):
                value = jax.random.key_data(value)
            array = np.ascontiguousarray(value)
            return [array.shape, str(array.dtype), hashlib.sha256(array.tobytes()).hexdigest()]
        case list() | tuple() | nnx.List():
            return [type(value).__qualname__, *map(inner, value)]
        case set() | frozenset():
            return [type(value).__qualname__, *sorted(map(repr, value))]
        case dict():
            return ["dict", *([inner(key), inner(value[key])] for key in value)]
        case types.CodeType():
            code = hashlib.sha256(value.co_code).hexdigest()
            return [code, value.co_names, *map(inner, value.co_consts)]
        case functools.partial():
            return ["partial", *map(inner, (value.func, value.args, value.keywords))]
        case types.MethodType():
            return ["method", inner(value.__func__), inner(value.__self__)]
        case types.FunctionType():
            cells = [_content(cell) for cell in value.__closure__ or ()]
            body = None if value.__module__.split(".")[0] in _LIBRARIES else value.__code__
            parts = (value.__defaults__, value.__kwdefaults__, cells, body)
            return [value.__module__, value.__qualname__, *map(inner, parts)]
        case type():
            return [value.__module__, value.__qualname__]
        case _ if hasattr(value, "__wrapped__"):  # by `jax.jit` or `jax.custom_jvp`
            return ["wrapped", inner(value.__wrapped__)]
    kind = [type(value).__module__, type(value).__qualname__]
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    else:
        names = sorted(getattr(value, "__dict__", ()))
    if isinstance(value, nnx.Module):
        names = [name for name in names if name != "recipe" and not name.startswith("_pytree")]
    elif not names:
        return [kind, re.sub(r" at 0x[0-9a-f]+", "", repr(value))]
    return [kind, *([name, inner(getattr(value, name))] for name in names)]


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # of a name that is not bound yet
        return "empty"
