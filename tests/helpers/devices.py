"""Runs on many devices, for processes that must know their number before JAX starts."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from helpers import interrupted
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import flowjax_lite as fl
from flowjax_lite import data


def by_rows(name: str, shape: tuple[int, ...]) -> PartitionSpec:
    """Arrays that eight devices can share along the first axis are shared."""
    return PartitionSpec("data") if shape and shape[0] % 8 == 0 else PartitionSpec()


def outcome(result: fl.FitResult) -> dict[str, Any]:
    """What can be compared."""
    leaves = [np.asarray(leaf).ravel() for leaf in jax.tree.leaves(result.flow)]
    history = {k: v for k, v in result.history.items() if k != "seconds"}
    return history | {"flow": np.concatenate(leaves).astype(float).tolist()}


def equation() -> fl.Flow:
    """A continuous flow of few steps."""
    return fl.flows.ffjord(dim=2, hidden=(4,), method="euler", num_steps=2, rngs=nnx.Rngs(0))


def sums_in_loops(mesh: Mesh | None) -> int:
    """How many sums over devices the loops of a training step hold, whose rows are divided."""
    optimizer = optax.sgd(1e-2)
    step = jax.jit(fl.make_train_step(fl.negative_log_likelihood, optimizer, mesh=mesh))
    divided = NamedSharding(fl.all_devices(), PartitionSpec("data"))
    x = jax.device_put(np.zeros((16, 2), np.float32), divided)
    state = fl.TrainState.create(equation(), optimizer)
    program = step.lower(state, x, None, None, jax.random.key(0)).compile().as_text()
    return program.split("ENTRY")[0].count(" all-reduce(")


def start(num_devices: int) -> None:
    """Devices of a CPU that JAX takes for many."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", num_devices)


def eight(out: Path, directory: Path) -> None:
    """The same run on one device, on eight, and on eight that share the parameters as well."""
    start(8)
    mesh = fl.all_devices()
    common = interrupted.settings(directory, optimizer=optax.sgd(1e-2), checkpoint=None)
    shared = {"mesh": mesh, "sharding": by_rows}
    kinds = {
        "one": {},
        "eight": {"mesh": mesh},
        "shared": shared,
        "one, ragged": {"batch_size": 13},
        "eight, ragged": {"batch_size": 13, "mesh": mesh},
        "saved": shared | {"checkpoint": fl.Checkpoint(directory, every=5)},
        "streamed": {"data": data.stream(common["data"], buffer=40), "mesh": mesh}
        | {"optimizer": optax.set_to_zero(), "validation": None},
        "all rows": {"optimizer": optax.set_to_zero(), "validation": None},
        "read": shared | {"checkpoint": fl.Checkpoint(directory, resume=True)},
    }
    found = {k: outcome(fl.fit(interrupted.tiny(), **common | v)) for k, v in kinds.items()}
    common |= {"loss": fl.regularized_likelihood(), "max_epochs": 1, "validation": None}
    found["equation on one"] = outcome(fl.fit(equation(), **common))
    found["equation"] = outcome(fl.fit(equation(), **common, mesh=mesh))
    with jax.set_mesh(mesh):
        found["equation, mesh set"] = outcome(fl.fit(equation(), **common, mesh=mesh))
    found["sums in loops"] = {"with": sums_in_loops(mesh), "without": sums_in_loops(None)}
    out.write_text(json.dumps(found))


def one_of_two(directory: Path, address: str, process: int) -> None:
    """A process of two, of two devices each, with a run on a stream that is saved."""
    start(2)
    jax.distributed.initialize(address, 2, process)
    assert len(jax.devices()) == 4
    settings = interrupted.settings(directory, max_epochs=2) | {"mesh": fl.all_devices()}
    rows = settings["data"]
    if process:
        rows = rows + 1
    try:
        fl.fit(interrupted.tiny(), **settings | {"data": rows, "checkpoint": None})
    except ValueError as error:
        assert "process 1 has other data than process 0" in str(error)
    else:
        raise AssertionError("other data in another process went by without a word")
    settings["data"] = data.stream(settings["data"], buffer=40)
    fl.fit(interrupted.tiny(), **settings)
