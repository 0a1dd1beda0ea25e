"""The run directory: what it holds, when it may be written, and how it is read again."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

import flowjax_lite as fl
from flowjax_lite.cli import config_file as configs
from flowjax_lite.cli.config import Config
from flowjax_lite.cli.errors import CommandError
from flowjax_lite.distributions import Flow
from flowjax_lite.training import LogFile

CONFIG, METRICS, MODEL = "config.yaml", "metrics.jsonl", "model.safetensors"
SAMPLES, TRAINING, DENSITY = "samples.png", "training.png", "density.png"
FILES = (CONFIG, METRICS, MODEL, SAMPLES, TRAINING, DENSITY)
_MAX_METRICS = 2**26  # bytes


def check_target(path: Path, *, overwrite: bool, is_file: bool = False) -> None:
    """Check that results can be written, before any work is done.

    Args:
        path: The directory or file that will be written.
        overwrite: Whether it may exist.
        is_file: Whether a file is meant.

    Raises:
        CommandError: The path exists, or nothing can be written there.
    """
    if path.exists() and path.is_file() != is_file:
        raise CommandError(f"{path} is a {'directory' if is_file else 'file'}: give another place")
    if path.exists() and not overwrite:
        raise CommandError(f"{path} exists: give another place, or replace it with --overwrite")
    parent = path.parent
    while not parent.exists():
        parent = parent.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=parent):
            pass  # Permissions do not tell the whole story; a trial does.
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error}") from None


def checkpoint(config: Config, *, overwrite: bool, resume: bool) -> fl.Checkpoint:
    """Return where a run saves itself until it is done: beside its directory.

    Raises:
        CommandError: A run of that name was interrupted, and it is not said what to do with it.
    """
    directory = config.run_dir.with_name(f"{config.name}.checkpoints")
    if directory.exists() and overwrite and not resume and jax.process_index() == 0:
        shutil.rmtree(directory)
    multihost_utils.sync_global_devices("old checkpoints are gone")
    if directory.exists() and not resume:
        raise CommandError(
            f"{config.run_dir} was interrupted, and {directory} holds what it had done: go on "
            "with --resume, or begin anew with --overwrite"
        )
    return fl.Checkpoint(directory, every=config.training.checkpoint_every, resume=resume)


def log(config: Config) -> LogFile | None:
    """Return where a run tells what it finds while it goes on; the first of several processes."""
    if jax.process_index() > 0:
        return None
    return LogFile(config.run_dir.with_name(f"{config.name}.progress.jsonl"))


@contextmanager
def writing(directory: Path, files: tuple[str, ...] = FILES) -> Iterator[Path]:
    """Fill a directory at the very end: a failure on the way leaves it as it was.

    Args:
        directory: The directory; what it holds besides `files` is left alone.
        files: The names that belong to the result; those not written this time are removed.

    Yields:
        An empty directory to write to.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=directory.parent) as temporary:
        yield Path(temporary)
        directory.mkdir(exist_ok=True)
        written = {path.name for path in Path(temporary).iterdir()}
        for name in written:
            os.replace(Path(temporary) / name, directory / name)
        for name in set(files) - written:
            (directory / name).unlink(missing_ok=True)


def read(directory: str | Path) -> tuple[Config, Flow]:
    """Read the config and the model of a run.

    Raises:
        CommandError: The directory is not a run.
    """
    directory = Path(directory)
    for name in (CONFIG, MODEL):
        if not (directory / name).is_file():
            raise CommandError(
                f"{directory} is not a run directory: it holds no {name}; "
                "give the directory that `flowjax-lite fit` wrote"
            )
    return configs.load(directory / CONFIG), fl.load(directory / MODEL)


def read_summary(directory: str | Path) -> dict[str, Any]:
    """Return the last line of the metrics: scores, columns and sizes.

    Raises:
        CommandError: The file is missing or damaged.
    """
    path = Path(directory) / METRICS
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_METRICS + 1)
        if len(content) > _MAX_METRICS:
            raise ValueError(f"it is larger than {_MAX_METRICS} bytes")
        summary = json.loads(content.splitlines()[-1])
    except (OSError, ValueError, IndexError, RecursionError) as error:
        raise CommandError(f"{path}: cannot be read: {error}") from None
    match summary:
        case {
            "columns": [*columns],
            "condition_columns": [*given],
            "num_levels": None | int() as levels,
        } if (levels is None or levels > 1) and all(
            isinstance(name, str) for name in columns + given
        ):
            return summary
    raise CommandError(f"{path}: its last line is not that of a whole run: fit it again")
