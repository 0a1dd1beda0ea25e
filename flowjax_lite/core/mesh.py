"""Where a run's arrays lie: on one device, or spread over a mesh of many."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from flowjax_lite.core.pytree import map_named


def by_parts(
    mesh: Mesh | None, function: Callable[..., Any], shared: Any, *rows: Array | None
) -> Any:
    """function(shared, *rows), of which each device computes the part for its own rows.

    XLA by itself divides the rows too, but adds up the parts of a weight's gradient wherever a
    product sums over rows: for an ODE in each step of its solver, here a single time. And a loop
    on one device does not wait for those on others.

    Args:
        mesh: the devices. Without one, where they cannot have equal parts, and under
            `jax.set_mesh`, with which diffrax cannot compute in parts, this is the call itself.
        function: takes `shared` and rows, and returns arrays with the rows in front; what it makes
            of one row does not depend on others.
        shared: whole on every device; a pytree.
        rows: (rows, ...), or (1, ...) where one serves all; or None.
    """
    number = max(len(array) for array in rows if array is not None)
    alone = jax.sharding.get_abstract_mesh().empty
    if mesh is None or mesh.size == 1 or number % mesh.size or not alone:
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


Rule = Callable[[str, tuple[int, ...]], PartitionSpec]


def all_devices() -> Mesh:
    """A mesh of one axis, "data", over all devices of all processes."""
    return jax.make_mesh((len(jax.devices()),), ("data",), axis_types=(AxisType.Auto,))


def replicated(name: str, shape: tuple[int, ...]) -> PartitionSpec:
    """The rule that every device holds all of every array."""
    return PartitionSpec()


def check_mesh(mesh: Mesh | None) -> None:
    """Check that a mesh is one, over whose axes XLA divides what it is not told about.

    Raises:
        TypeError: it is no mesh.
        ValueError: its axes are of another type.
    """
    if mesh is not None and not isinstance(mesh, Mesh):
        raise TypeError(
            f"mesh is {mesh!r}; expected a jax.sharding.Mesh, such as all_devices(), or None"
        )
    types = {AxisType.Auto} if mesh is None else set(mesh.axis_types)
    if types != {AxisType.Auto}:
        raise ValueError(
            f"mesh has axes of types {types}; expected Auto for all of them: give "
            f"all_devices(), or jax.make_mesh(..., axis_types=(AxisType.Auto,))"
        )


@dataclass(frozen=True)
class Placement:
    """How rows and parameters are spread over devices.

    Attributes:
        mesh: the devices; None is the default device alone.
        rule: from the name and shape of an array of the run's state to how it is partitioned.
    """

    mesh: Mesh | None = None
    rule: Rule = replicated

    def __post_init__(self) -> None:
        check_mesh(self.mesh)

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
