"""Static checks of shapes and dtypes: one wording for every error, before anything compiles."""

import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

Shape = tuple[int, ...]


def default_dtype() -> jnp.dtype:
    """The precision of parameters: float32, or float64 where jax is set to it."""
    return jnp.result_type(float)


def check_float(value: Any, name: str) -> Array:
    """Return value as a JAX array, or explain why it cannot enter a density.

    Raises:
        TypeError: value is missing, or neither floating-point nor convertible to it.
    """
    if value is None:
        raise TypeError(f"{name} is missing (None); expected a floating-point array")
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} has dtype {array.dtype}; expected a floating-point array: cast it with "
            f"{name}.astype(float), and dequantise counts or grey values first"
        )
    return array


def check_event(value: Any, event_shape: Shape, name: str) -> Array:
    """Return value as an array of exactly one event.

    Raises:
        TypeError: value is not floating-point.
        ValueError: value has another shape than one event.
    """
    array = check_float(value, name)
    if array.shape != event_shape:
        raise ValueError(
            f"{name} has shape {array.shape}; expected one event of shape "
            f"{event_shape}: map over batches with jax.vmap, or use a Flow, which does so"
        )
    return array


def check_condition(condition: Any, condition_shape: Shape | None) -> Array | None:
    """Return condition as an array of exactly one condition, or None where none is taken.

    Raises:
        TypeError: the condition is missing or not floating-point.
        ValueError: the condition has the wrong shape, or none is taken.
    """
    array = check_condition_batch(condition, condition_shape)
    if array is not None and condition_shape is not None and array.shape != condition_shape:
        raise ValueError(condition_shape_message(array.shape, condition_shape))
    return array


def check_batch(value: Any, event_shape: Shape, name: str) -> Array:
    """Return value as an array whose trailing axes are one event.

    Raises:
        TypeError: value is not floating-point.
        ValueError: the trailing axes are not one event.
    """
    array = check_float(value, name)
    rank = len(event_shape)
    if array.ndim < rank or array.shape[array.ndim - rank :] != event_shape:
        expected = ", ".join(["...", *map(str, event_shape)])
        raise ValueError(
            f"{name} has shape {array.shape}; this flow expects ({expected}), as given to dim "
            f"when it was built: events go last, batches before them"
        )
    return array


def check_levels(value: Any, event_shape: Shape, num_levels: int, name: str) -> Any:
    """Return value as an array, of numpy if it was none of jax, whose trailing axes are one event.

    Raises:
        TypeError: value has no whole numbers.
        ValueError: the trailing axes are not one event, or there is no such level.
    """
    array = value if isinstance(value, Array) else np.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(
            f"{name} has dtype {array.dtype}; expected whole levels from 0 to {num_levels - 1}: "
            f"cast them with {name}.astype(np.uint8), after scaling them to that range"
        )
    rank = len(event_shape)
    shape = array.shape[max(array.ndim - rank, 0) :]
    if shape != event_shape:
        axes = ", ".join(["...", *map(str, event_shape)])
        fix = ""
        if rank == 3 and shape == (event_shape[2], *event_shape[:2]):
            fix = f": channels go last, np.moveaxis({name}, -3, -1)"
        raise ValueError(f"{name} has shape {array.shape}; expected ({axes}){fix}")
    if array.size and not isinstance(array, jax.core.Tracer):
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= num_levels:
            raise ValueError(
                f"{name} holds levels from {low} to {high}; expected 0 to {num_levels - 1}, by the "
                f"model's num_levels = {num_levels}"
            )
    return array


def check_condition_batch(condition: Any, condition_shape: Shape | None) -> Array | None:
    """Return condition as an array whose trailing axes are one condition, or None.

    Raises:
        TypeError: the condition is missing or not floating-point.
        ValueError: the trailing axes are not one condition, or none is taken.
    """
    check_condition_presence(condition, condition_shape)
    if condition_shape is None:
        return None
    array = check_float(condition, "condition")
    rank = len(condition_shape)
    if array.ndim < rank or array.shape[array.ndim - rank :] != condition_shape:
        raise ValueError(condition_shape_message(array.shape, condition_shape))
    return array


def check_condition_presence(condition: Any, condition_shape: Shape | None) -> None:
    """Raise unless a condition is given exactly where one is taken.

    Raises:
        TypeError: a condition is needed and missing.
        ValueError: a condition is given where none is taken.
    """
    if condition_shape is None and condition is not None:
        raise ValueError(
            "condition was given, but this flow takes none: leave it out, or build the flow "
            "with condition_dim"
        )
    if condition_shape is not None and condition is None:
        raise TypeError(
            f"condition is missing; this flow expects one of shape {condition_shape}, as given "
            f"to condition_dim when it was built"
        )


def check_positive_int(value: Any, name: str, *, minimum: int = 1) -> int:
    """Return value as an int if it is a whole number of at least `minimum`; numpy's are taken too.

    Raises:
        TypeError: value is not a whole number.
        ValueError: value is too small.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} is {value!r}; expected a whole number of at least {minimum}")
    if value < minimum:
        raise ValueError(f"{name} is {value}; expected a whole number of at least {minimum}")
    return int(value)


def as_key(key: Any, name: str = "key") -> Array:
    """Return one typed random key, from such a key, one of `jax.random.PRNGKey`, or a seed.

    Args:
        key: a key; or a whole number from 0 to 2**32 - 1, which means `jax.random.key(number)`.
        name: what messages call it.

    Raises:
        TypeError: it is none of these.
        ValueError: it is a number out of range, or several keys.
    """
    if isinstance(key, Integral) and not isinstance(key, bool):
        seed = int(key)
        if not 0 <= seed < 2**32:  # jax would drop the higher bits
            raise ValueError(f"{name} is {seed}; expected a seed from 0 to {2**32 - 1}, or a key")
        return jax.random.key(seed)
    dtype = getattr(key, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        if key.shape:
            raise ValueError(
                f"{name} holds {key.shape} keys; expected a single one, such as key[0]"
            )
        return key
    if dtype != np.uint32 or jnp.ndim(key) != 1:
        raise TypeError(
            f"{name} is {key!r}; expected a random key, such as jax.random.key(0), or a whole "
            f"number as its seed"
        )
    return jax.random.wrap_key_data(jnp.asarray(key))


def check_rngs(rngs: Any) -> None:
    """Check where initial weights come from.

    Raises:
        TypeError: it is none, such as a seed or a key.
    """
    if not isinstance(rngs, nnx.Rngs):
        raise TypeError(
            f"rngs has type {type(rngs).__name__}; expected nnx.Rngs, such as rngs=nnx.Rngs(0)"
        )


def check_event_shape(dim: Any, name: str = "dim") -> Shape:
    """Return the shape of an event, given as it is or as the length of a vector.

    Args:
        dim: a whole number for a vector, or a shape such as (32, 32, 3).
        name: what the argument is called.

    Raises:
        TypeError: dim is neither, or an axis is not a whole number.
        ValueError: an axis is below 1.
    """
    if isinstance(dim, (list, tuple)):
        return tuple(check_positive_int(size, f"{name}[{i}]") for i, size in enumerate(dim))
    return (check_positive_int(dim, name),)


def check_columns(columns: Sequence[int], dim: int, name: str) -> tuple[int, ...]:
    """Return the indices of some entries of an event as a tuple.

    Raises:
        ValueError: an index is doubled, out of range or no whole number.
    """
    given = tuple(columns)
    whole = all(isinstance(i, int) and not isinstance(i, bool) for i in given)
    if not whole or len(set(given)) < len(given) or not set(given) <= set(range(dim)):
        raise ValueError(
            f"{name} is {given}; expected each at most once of the column numbers "
            f"{tuple(range(dim))}"
        )
    return given


def merge_condition_shapes(shapes: list[Shape | None]) -> Shape | None:
    """The one condition shape that a composition takes.

    Raises:
        ValueError: two parts expect different conditions.
    """
    given = {shape for shape in shapes if shape is not None}
    if len(given) > 1:
        raise ValueError(
            f"the parts expect conditions of different shapes {sorted(given)}; build all of "
            f"them with the same condition_dim"
        )
    return given.pop() if given else None


def condition_shape_message(got: Shape, expected: Shape) -> str:
    """What to tell a user whose condition has the wrong shape."""
    return (
        f"condition has shape {got}; this flow expects {expected}, as given to condition_dim "
        f"when it was built"
    )


def refuse_masked(x: Any, name: str) -> None:
    """Check that no cell of a numpy array is masked, which would be seen as a number.

    Raises:
        ValueError: one is.
    """
    if np.ma.is_masked(x):
        raise ValueError(
            f"{name} is a masked array with {np.ma.count_masked(x)} masked cells, which a flow "
            f"would see as numbers. Drop their rows: x[~np.ma.getmaskarray(x).any(axis=1)].data"
        )


def check_choice(value: str, choices: Sequence[str], name: str) -> str:
    """Return the value, one of a few words.

    Raises:
        ValueError: it is none of them.
    """
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(repr, choices))}")
    return value


def suggest(name: str, known: Sequence[str]) -> str:
    """Say which known names are near a mistyped one.

    Args:
        name: what was asked for.
        known: what there is.

    Returns:
        A question that starts with a space, or an empty text if nothing is near.
    """
    near = get_close_matches(name, known)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def listed(items: Iterable[object], *, most: int = 5, separator: str = ", ") -> str:
    """The first items, with dots in place of the others."""
    words = [str(item) for item in items]
    return separator.join([*words[:most], *["..."] * (len(words) > most)])


def check_memory(num_bytes: int, what: str) -> None:
    """Raise if an array cannot fit in the memory of this machine.

    Raises:
        ValueError: it is larger than the whole memory.
    """
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not say
        return
    if num_bytes > memory:
        raise ValueError(
            f"{what} would be an array of {num_bytes / 2**30:,.0f} GiB; this machine has "
            f"{memory / 2**30:,.0f} GiB of memory: ask for fewer"
        )
