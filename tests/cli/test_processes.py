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
        (["--coordinator", "auto", "--process-id", "0"], "leave out --num-processes"),
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


def test_nothing_to_discover(tiny_config: Callable[..., Path]) -> None:
    """Would catch a message of JAX that does not say what to type; in a process without JAX."""
    command = [sys.executable, "-m", "flowjax_lite", "fit", str(tiny_config())]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "OMPI"))}
    done = subprocess.run(
        [*command, "--coordinator", "auto"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "found none of the cluster managers" in done.stderr


def test_two_processes_write_one_run(tiny_config: Callable[..., Path], tiny_run: Path) -> None:
    """Would catch two runs beside each other, both writing, or one that trains on half the rows.

    Also catches a picture for which one process waits for the other for ever, and a cluster that
    is not found: the first process takes itself for one of SLURM's, the other is told.
    """
    path = tiny_config()
    job, port = unused_job()
    slurm = {
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
    }
    told = ["--coordinator", f"localhost:{port}", "--num-processes", "2", "--process-id", "1"]
    command = [sys.executable, "-m", "flowjax_lite", "fit", str(path)]
    command += ["--training.pictures-every", "2"]
    processes = [
        subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            env=os.environ | {"JAX_PLATFORMS": "cpu"} | environment,
            text=True,
        )
        for arguments, environment in ((["--coordinator", "auto"], slurm), (told, {}))
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


def unused_job() -> tuple[int, int]:
    """A number of a job whose port, which JAX derives from it, is free."""
    for job in range(os.getpid(), os.getpid() + 100):
        port = 61440 + job % 4096
        with socket.socket() as trial:
            if trial.connect_ex(("localhost", port)) != 0:
                return job, port
    raise RuntimeError("no free port")
