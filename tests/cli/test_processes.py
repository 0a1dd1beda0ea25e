"""`flowjax-lite fit` on all devices, and in several processes."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flowjax_lite.cli.main import main
from flowjax_lite.cli.run import directory as run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-processes", "2"], "--coordinator is missing"),
        (["--coordinator", "localhost:1", "--num-processes", "2"], "--process-id is missing"),
        (
            ["--coordinator", "localhost:1", "--num-processes", "2", "--process-id", "2"],
            "--process-id is 2; expected a number from 0 to 1",
        ),
    ],
)
def test_incomplete_processes_are_named(
    tiny_config: Callable[..., Path],
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Would catch a process that waits for ever for others, or trains by itself."""
    assert main(["fit", str(tiny_config()), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_all_devices(tiny_config: Callable[..., Path], tiny_run: Path) -> None:
    """Would catch an option that changes the result."""
    assert main(["fit", str(tiny_config()), "--devices", "all"]) == 0
    one, other = (run.read(path) for path in (tiny_config().parent / "runs/tiny", tiny_run))
    assert one.score.test == pytest.approx(other.score.test, abs=1e-5)


def test_two_processes_write_one_run(tiny_config: Callable[..., Path], tiny_run: Path) -> None:
    """Would catch two runs beside each other, both writing, or one that trains on half the rows.

    Also catches a picture for which one process waits for the other for ever.
    """
    path = tiny_config()
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "flowjax_lite", "fit", str(path)]
    command += ["--training.pictures-every", "2"]
    processes = [
        subprocess.Popen(
            [*command, "--coordinator", address, "--num-processes", "2", "--process-id", str(i)],
            stdout=subprocess.PIPE,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            text=True,
        )
        for i in range(2)
    ]
    written = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert ["Wrote" in text for text in written] == [True, False]
    directory = path.parent / "runs"
    assert [entry.name for entry in directory.iterdir()] == ["tiny"]
    assert [entry.name for entry in (directory / "tiny" / run.PICTURES).iterdir()] == [
        "epoch_00002.png"
    ]
    one, other = (run.read(each) for each in (directory / "tiny", tiny_run))
    assert one.score.test == pytest.approx(other.score.test, abs=1e-4)
