"""Rows in parts, one for each device of a mesh."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
from jax import Array
from jax.sharding import AxisType, Mesh, PartitionSpec

_MESH: ContextVar[Mesh | None] = ContextVar("mesh", default=None)


@contextlib.contextmanager
def in_parts(mesh: Mesh) -> Iterator[None]:
    """While a program is traced: `by_parts` divides rows among the devices of this mesh."""
    token = _MESH.set(mesh)
    try:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # the caches of `jit` see this one
            yield
    finally:
        _MESH.reset(token)


def by_parts(function: Callable[..., Any], shared: Any, *rows: Array | None) -> Any:
    """function(shared, *rows), of which each device computes the part for its own rows.

    XLA by itself divides the rows too, but adds up the parts of a weight's gradient wherever a
    product sums over rows: for an ODE in each step of its solver, here a single time. And a loop
    on one device does not wait for those on others.

    Outside of `in_parts`, and where the devices cannot have equal parts, it is the call itself.

    Args:
        function: takes `shared` and rows, and returns arrays with the rows in front; what it makes
            of one row does not depend on others.
        shared: whole on every device; a pytree.
        rows: (rows, ...), or (1, ...) where one serves all; or None.
    """
    mesh = _MESH.get()
    number = max(len(array) for array in rows if array is not None)
    if mesh is None or mesh.size == 1 or number % mesh.size or _in_a_part():
        return function(shared, *rows)
    whole, divided = PartitionSpec(), PartitionSpec(mesh.axis_names)

    def spec(array: Array | None) -> PartitionSpec:
        return divided if array is not None and len(array) == number else whole

    return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=(whole, *map(spec, rows)),
        out_specs=divided,
        check_vma=False,  # a loop of diffrax begins with what all devices share
    )(shared, *rows)


def _in_a_part() -> bool:
    return AxisType.Manual in jax.sharding.get_abstract_mesh().axis_types
