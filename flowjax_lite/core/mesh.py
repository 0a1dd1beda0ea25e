"""Where a run's arrays lie: on one device, or spread over a mesh of many."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from flowjax_lite.core.pytree import map_named

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


Rule = Callable[[str, tuple[int, ...]], PartitionSpec]


def all_devices() -> Mesh:
    """A mesh of one axis, "data", over all devices of all processes."""
    return jax.make_mesh((len(jax.devices()),), ("data",), axis_types=(AxisType.Auto,))


def replicated(name: str, shape: tuple[int, ...]) -> PartitionSpec:
    """The rule that every device holds all of every array."""
    return PartitionSpec()


@dataclass(frozen=True)
class Placement:
    """How rows and parameters are spread over devices.

    Attributes:
        mesh: the devices; None is the default device alone.
        rule: from the name and shape of an array of the run's state to how it is partitioned.
        alone: whether no mesh is in use by `jax.set_mesh`, with which `in_use` would not let
            diffrax compute constants.
    """

    mesh: Mesh | None = None
    rule: Rule = replicated
    alone: bool = field(default_factory=lambda: jax.sharding.get_mesh().empty)

    def __post_init__(self) -> None:
        types = {AxisType.Auto} if self.mesh is None else set(self.mesh.axis_types)
        if types != {AxisType.Auto}:
            raise ValueError(
                f"mesh has axes of types {types}; expected Auto for all of them: give "
                f"all_devices(), or jax.make_mesh(..., axis_types=(AxisType.Auto,))"
            )

    @property
    def num_parts(self) -> int:
        """Into how many parts a batch is cut."""
        return 1 if self.mesh is None else self.mesh.size

    def put(self, rows: Any) -> Any:
        """Put rows of data on all devices."""
        if self.mesh is None:
            return jax.device_put(rows)
        whole = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(lambda array: _put(array, whole), rows)

    @property
    def parts_here(self) -> list[int]:
        """The parts of a batch that devices of this process take."""
        if self.mesh is None:
            return [0]
        devices, here = self.mesh.devices.flat, jax.process_index()
        return [part for part, device in enumerate(devices) if device.process_index == here]

    def put_parts(self, parts: Mapping[int, Any]) -> Any:
        """Put parts of rows, of equal shapes, each on its device.

        Args:
            parts: those of `parts_here`, by number.

        Returns:
            All parts, along a new first axis.
        """
        if self.mesh is None:
            return jax.device_put(jax.tree.map(lambda array: array[None], parts[0]))
        sharding = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))

        def put(*arrays: np.ndarray) -> jax.Array:
            of_part = dict(zip(parts, arrays, strict=True))
            return jax.make_array_from_callback(
                (self.num_parts, *arrays[0].shape),
                sharding,
                lambda place: of_part[place[0].start or 0][None],  # type: ignore[index]
            )

        return jax.tree.map(put, *parts.values())

    def put_state(self, state: Any) -> Any:
        """Put a state where the rule wants it."""
        return state if self.mesh is None else jax.tree.map(_put, state, self._shardings(state))

    def keep(self, state: Any) -> Any:
        """Within a compiled program: the state, where the rule wants it."""
        if self.mesh is None:
            return state
        return lax.with_sharding_constraint(state, self._shardings(state))

    def spread(self, batch: Any) -> Any:
        """Within a compiled program: a batch, each device with its part of the rows."""
        if self.mesh is None:
            return batch
        of_rows = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))
        return lax.with_sharding_constraint(batch, of_rows)

    def in_use(self) -> AbstractContextManager[Any]:
        """Within a compiled program: each device computes what is computed of its own rows."""
        if self.mesh is None or not self.alone:
            return contextlib.nullcontext()
        return in_parts(self.mesh)

    def to_host(self, tree: Any) -> Any:
        """Whole arrays of numpy, copies, in every process."""
        if self.mesh is not None and not all(
            leaf.is_fully_replicated for leaf in jax.tree.leaves(tree)
        ):
            whole = NamedSharding(self.mesh, PartitionSpec())
            tree = jax.jit(lambda tree: tree, out_shardings=whole)(tree)
        return jax.tree.map(np.array, tree)

    def to_default(self, tree: Any) -> Any:
        """On the default device of each process, as if the run had known no other."""
        return tree if self.mesh is None else jax.tree.map(jnp.asarray, self.to_host(tree))

    def _shardings(self, state: Any) -> Any:
        mesh = self.mesh
        assert mesh is not None
        return map_named(lambda name, leaf: NamedSharding(mesh, self.rule(name, leaf.shape)), state)


def check_same_everywhere(checksum: str) -> None:
    """Check that all processes have the same data.

    Args:
        checksum: of this process's data, hexadecimal.

    Raises:
        ValueError: another process has others.
    """
    own = np.frombuffer(bytes.fromhex(checksum), np.uint8)
    others = np.asarray(multihost_utils.process_allgather(own)).reshape(-1, len(own))
    differ = np.flatnonzero((others != others[0]).any(axis=1))
    if differ.size:
        raise ValueError(
            f"process {differ[0]} has other data than process 0: give all processes the same "
            f"rows in the same order; each trains on its own part of them"
        )


def _put(array: Any, sharding: NamedSharding) -> jax.Array:
    """Each process puts what its own devices hold."""
    whole = np.asarray(array)
    return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part])
