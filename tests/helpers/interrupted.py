"""A run to be killed: in a module of its own, which another process can import."""

import json
import multiprocessing
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

import flowjax_lite as fl

# Processes that need not import all of this again.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["flowjax_lite", "orbax.checkpoint"])


def settings(directory: Path, **changed: Any) -> dict[str, Any]:
    """What `fit` is given; 33 steps, each saved."""
    x = np.random.default_rng(0).standard_normal((120, 2)) @ [[1.0, 0.9], [0.0, 0.4]]
    checkpoint = fl.Checkpoint(directory, every=changed.pop("every", 1), resume=True)
    return {
        "data": x.astype(np.float32),
        "key": jax.random.key(0),
        "batch_size": 10,
        "max_epochs": 3,
        "checkpoint": checkpoint,
        "progress": False,
    } | changed


def tiny() -> fl.Flow:
    """A small flow, whose larger arrays orbax keeps in files without checksums."""
    return fl.flows.realnvp(dim=2, num_layers=2, hidden=(24, 24), rngs=nnx.Rngs(0))


def train(directory: Path) -> None:
    """A whole run of 12 steps, or what is left of it, of a flow that is traced in no time."""
    rows = np.random.default_rng(0).standard_normal((120, 32), np.float32)
    flow = fl.Flow(fl.distributions.StandardNormal(32), fl.bijectors.Linear(32))
    fl.fit(flow, **settings(directory, data=rows, batch_size=20, max_epochs=2))


def newest(directory: Path) -> int:
    """The step of the newest checkpoint; 0 before there is one."""
    return max((int(path.name) for path in directory.glob("*") if path.name.isdigit()), default=0)


def last(directory: Path) -> tuple[int, dict[str, Any]]:
    """The newest checkpoint: its step, and all that it says but for the time of day."""
    step = newest(directory)
    manifest = json.loads((directory / str(step) / "manifest" / "metadata").read_text())
    del manifest["sha256"]
    for epoch in manifest["record"]["epochs"]:
        del epoch["seconds"]
    return step, manifest
