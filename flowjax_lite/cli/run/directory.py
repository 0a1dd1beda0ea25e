"""The run directory: what it holds, when it may be written, and how it is read again."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

import flowjax_lite as fl
from flowjax_lite.cli import config as configs
from flowjax_lite.cli.config import Config
from flowjax_lite.cli.errors import CommandError
from flowjax_lite.cli.report.score import Score
from flowjax_lite.core.files import locked
from flowjax_lite.data import Schema
from flowjax_lite.distributions import Flow

CONFIG, METRICS, MODEL = "config.yaml", "metrics.jsonl", "model.safetensors"
SAMPLES, TRAINING, DENSITY = "samples.png", "training.png", "density.png"
# What is written on the way.
PROGRESS, TABLE, BOARD, PICTURES = "progress.jsonl", "progress.csv", "tensorboard", "pictures"
FILES = (CONFIG, METRICS, MODEL, SAMPLES, TRAINING, DENSITY, PROGRESS, TABLE, BOARD, PICTURES)
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


@contextmanager
def exclusive(path: Path, *, overwrite: bool) -> Iterator[None]:
    """Keep other processes from writing a directory of results at the same time.

    Args:
        path: The directory, which need not exist yet.
        overwrite: As in `check_target`: another process may have finished since that was called.

    Raises:
        CommandError: Another process is writing it, or it exists.
    """
    if jax.process_index() > 0:  # the first of several processes holds the lock for all
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with locked(path.with_name(f".{path.name}.lock")) as ours:
            if not ours:
                raise CommandError(
                    f"{path} is being written by another process: wait for its end, or give "
                    "another name"
                )
            check_target(path, overwrite=overwrite)
            yield
    finally:
        with suppress(OSError):  # nothing was written into a directory that was new
            path.parent.rmdir()


def begin(config: Config, *, overwrite: bool, resume: bool) -> fl.Checkpoint:
    """Make way for what a run writes on its way, and return where it saves itself.

    Raises:
        CommandError: A run of that name was interrupted, and it is not said what to do with it.
    """
    directory = config.progress_dir
    if directory.exists() and overwrite and not resume and jax.process_index() == 0:
        shutil.rmtree(directory)
    multihost_utils.sync_global_devices("what an old run left is gone")
    if directory.exists() and not resume:
        raise CommandError(
            f"{config.run_dir} was interrupted, and {directory} holds what it had done: go on "
            "with --resume, or begin anew with --overwrite"
        )
    every = config.training.checkpoint_every
    return fl.Checkpoint(directory / "checkpoints", every=every, resume=resume)


@contextmanager
def writing(
    directory: Path, files: tuple[str, ...] = FILES, *, progress: Path | None = None
) -> Iterator[Path]:
    """Fill a directory at the very end: a failure on the way leaves it as it was.

    Args:
        directory: The directory; what it holds besides `files` is left alone.
        files: The names that belong to the result; those not written this time are removed.
        progress: A directory whose files of those names move to the result, and which is then
            removed.

    Yields:
        An empty directory to write to.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=directory.parent) as temporary:
        yield Path(temporary)
        directory.mkdir(exist_ok=True)
        places = [Path(temporary)] + ([progress] if progress else [])
        for name in files:
            written = [place / name for place in places if (place / name).exists()]
            if not written or written[0].is_dir():  # a directory takes no other's place
                _remove(directory / name)
            if written:
                os.replace(written[0], directory / name)
    if progress and progress.exists():
        shutil.rmtree(progress)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
    return _read_metrics(directory)[-1]


@dataclass(frozen=True)
class Trained:
    """A run that was trained before.

    Args:
        config: Its config.
        flow: The trained flow.
        columns: What it models.
        condition_columns: What it is conditioned on.
        score: The log-likelihoods of the flow.
        seconds: Since the start of training, after every epoch.
        validation: The log-likelihood then; empty where the loss was another one.
        total_seconds: How long training took.
    """

    config: Config
    flow: Flow
    columns: tuple[str, ...]
    condition_columns: tuple[str, ...]
    score: Score
    seconds: tuple[float, ...]
    validation: tuple[float, ...]
    total_seconds: float


def read_trained(directory: str | Path) -> Trained:
    """Read a run with all that a comparison needs.

    Raises:
        CommandError: The directory is not a run, or a file is damaged.
    """
    config, flow = read(directory)
    *epochs, summary = _read_metrics(directory)
    columns, given = tuple(summary["columns"]), tuple(summary["condition_columns"])
    try:
        score = Score.read(summary["scores"][0], name=config.name)
        seconds = tuple(float(line["seconds"]) for line in epochs)
        validation = tuple(float(line["validation"]) for line in epochs if "validation" in line)
        total = float(summary["seconds"])
        if not seconds or len(validation) not in (0, len(seconds)):
            raise ValueError("epochs are missing")
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        path = Path(directory) / METRICS
        raise CommandError(f"{path}: is not that of a whole run ({error}): fit it again") from None
    return Trained(config, flow, columns, given, score, seconds, validation, total)


def schema_of(summary: Mapping[str, Any], key: str = "schema") -> Schema | None:
    """Return the schema of the data, or of the condition, if the run has one.

    Raises:
        TypeError, ValueError: It is none.
    """
    kinds = summary.get(key)
    return None if kinds is None else Schema(kinds)


def _check_schemas(path: Path, summary: Mapping[str, Any]) -> None:
    for key, columns in (("schema", "columns"), ("condition_schema", "condition_columns")):
        try:
            schema = schema_of(summary, key)
            if schema is not None and schema.columns != tuple(summary[columns]):
                raise ValueError(f"it has not the columns {summary[columns]}")
        except (TypeError, ValueError, AttributeError) as error:
            raise CommandError(f"{path}: {key} is no schema of a run: {error}") from None


def _read_metrics(directory: str | Path) -> list[dict[str, Any]]:
    """Return all lines of the metrics, the last of which is a summary."""
    path = Path(directory) / METRICS
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_METRICS + 1)
        if len(content) > _MAX_METRICS:
            raise ValueError(f"it is larger than {_MAX_METRICS} bytes")
        lines = [json.loads(line) for line in content.splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise CommandError(f"{path}: cannot be read: {error}") from None
    match lines:
        case [
            *_,
            {
                "columns": [*columns],
                "condition_columns": [*given],
                "num_levels": None | int() as levels,
            },
        ] if (levels is None or levels > 1) and all(
            isinstance(name, str) for name in columns + given
        ):
            _check_schemas(path, lines[-1])
            return lines
    raise CommandError(f"{path}: its last line is not that of a whole run: fit it again")
