"""Many devices and many processes: the same run as on one."""

import json
import socket
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from helpers import devices
from helpers.interrupted import PROCESSES, last
from jax.sharding import AxisType

import flowjax_lite as fl


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What runs on eight devices found, in a process of their own."""
    directory = tmp_path_factory.mktemp("eight")
    process = PROCESSES.Process(
        target=devices.eight, args=(directory / "found.json", directory / "run")
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    return json.loads((directory / "found.json").read_text())


def difference(found: dict[str, Any], name: str, other: str) -> float:
    """The largest between two runs, of losses, gradient norms and parameters."""
    a, b = found[name], found[other]
    return max(float(np.abs(np.subtract(a[k], b[k])).max()) for k in a)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("eight", "one"),
        ("shared", "one"),
        ("eight, ragged", "one, ragged"),
        ("saved", "one"),
        ("equation", "equation on one"),
        ("equation, mesh set", "equation on one"),
    ],
)
def test_eight_devices_train_as_one(found: dict[str, Any], name: str, other: str):
    """Catches a mean over devices that is a sum, rows counted twice, and padding that counts.

    Plain gradient descent: Adam would hide a gradient that is eight times too large.
    """
    assert difference(found, name, other) < 1e-6


def test_gradients_of_an_equation_are_added_up_once(found: dict[str, Any]):
    """Catches a sum over devices in each step of the solver; the twin is how XLA divides rows."""
    assert found["sums in loops"]["with"] == 0
    assert found["sums in loops"]["without"] > 0


def test_eight_devices_share_the_rows_of_a_stream(found: dict[str, Any]):
    """Catches rows that no device has, or several: without training, losses are means over all."""
    assert found["streamed"]["train"] == pytest.approx(found["all rows"]["train"], rel=1e-5)


def test_other_batches_train_differently(found: dict[str, Any]):
    """The twin: catches a comparison that any two runs pass."""
    assert difference(found, "one", "one, ragged") > 1e-3


def test_a_shared_state_is_saved_and_read(found: dict[str, Any]):
    """Catches a checkpoint that holds one device's part alone."""
    assert difference(found, "saved", "read") == 0


def test_an_explicit_mesh_is_refused():
    """Catches an error deep inside of JAX for a mesh of the kind that it makes by default."""
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Explicit,))
    x = np.random.default_rng(0).standard_normal((100, 2)).astype(np.float32)
    with pytest.raises(ValueError, match=r"expected Auto for all of them: give all_devices\(\)"):
        fl.fit(devices.interrupted.tiny(), x, key=jax.random.key(0), batch_size=10, mesh=mesh)


def test_what_is_no_mesh_is_told():
    """Catches an error about an attribute that a number does not have."""
    with pytest.raises(TypeError, match=r"mesh is 3; expected a jax.sharding.Mesh, such as all_d"):
        fl.make_train_step(fl.negative_log_likelihood, optax.sgd(1e-2), mesh=3)


def start_two(directory: Path) -> list[BaseProcess]:
    """Two processes of one run."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = [
        PROCESSES.Process(
            target=devices.one_of_two,
            args=(directory, address, process),
        )
        for process in range(2)
    ]
    for process in processes:
        process.start()
    return processes


def test_two_processes_that_are_killed_go_on(tmp_path: Path):
    """Catches processes that train apart from each other, and checkpoints of only one of them."""
    for process in start_two(tmp_path / "whole"):
        process.join()
        assert process.exitcode == 0
    processes = start_two(tmp_path / "run")
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("1?")) and time.monotonic() < deadline:
        time.sleep(0.01)
    for process in processes:
        process.kill()
        process.join()
    assert 10 <= last(tmp_path / "run")[0] < last(tmp_path / "whole")[0]
    for process in start_two(tmp_path / "run"):
        process.join()
        assert process.exitcode == 0
    assert last(tmp_path / "run") == last(tmp_path / "whole")
