"""The run directory: what it holds, when it may be written, and how it is read again."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import jax
from jax.experimental import multihost_utils

import flowjax_lite as fl
from flowjax_lite.cli.config import Config, load
from flowjax_lite.cli.config.options import check_values, options_of
from flowjax_lite.cli.report import Score
from flowjax_lite.core.files import locked
from flowjax_lite.data import Schema
from flowjax_lite.distributions import Dequantized, Flow

Record = TypeVar("Record")

CONFIG, METRICS, MODEL = "config.yaml", "metrics.jsonl", "model.safetensors"
SAMPLES, TRAINING, DENSITY = "samples.png", "training.png", "density.png"
# What is written on the way.
PROGRESS, TABLE, BOARD, PICTURES = "progress.jsonl", "progress.csv", "tensorboard", "pictures"
FILES = (CONFIG, METRICS, MODEL, SAMPLES, TRAINING, DENSITY, PROGRESS, TABLE, BOARD, PICTURES)
_MAX_METRICS = 2**26  # bytes


@dataclass(frozen=True)
class Summary:
    """The last line of the metrics of a run.

    Args:
        best_epoch: Of the epochs before, counted from 1.
        parameters: The number of trained numbers.
        seconds: How long training took.
        columns: What the flow models.
        condition_columns: What it is conditioned on.
        num_levels: Number of grey levels, for images.
        image_shape: (height, width) or (height, width, channels), for images.
        schema: The kinds of a `Schema` of the columns, where one was inferred.
        condition_schema: The same of the condition.
    """

    best_epoch: int
    parameters: int
    seconds: float
    columns: tuple[str, ...]
    condition_columns: tuple[str, ...]
    num_levels: int | None
    image_shape: tuple[int, ...] | None = None
    schema: Mapping[str, Any] | None = None
    condition_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Run:
    """A run that was trained.

    Args:
        directory: Where it lies.
        config: Its config.
        summary: What its metrics tell.
        score: The log-likelihoods of its flow.
        seconds: Since the start of training, after every epoch.
        validation: The log-likelihood then; empty where the loss was another one.
    """

    directory: Path
    config: Config
    summary: Summary
    score: Score
    seconds: tuple[float, ...]
    validation: tuple[float, ...]

    @cached_property
    def flow(self) -> Flow | Dequantized:
        """The trained flow; of a family of images the distribution of their levels."""
        model: Flow | Dequantized = fl.load(self.directory / MODEL)
        return model


def read(directory: str | Path) -> Run:
    """Read a run, whose files anybody may have written.

    Raises:
        ValueError: The directory is not a run, or a file is damaged.
    """
    directory = Path(directory)
    for name in (CONFIG, METRICS, MODEL):
        if not (directory / name).is_file():
            raise ValueError(
                f"{directory} is not a run directory: it holds no {name}; "
                "give the directory that `flowjax-lite fit` wrote"
            )
    config = load(directory / CONFIG)
    try:
        with (directory / METRICS).open("rb") as file:
            content = file.read(_MAX_METRICS + 1)
        if len(content) > _MAX_METRICS:
            raise ValueError(f"it is larger than {_MAX_METRICS} bytes")
        *epochs, last = [json.loads(line) for line in content.splitlines()]
        summary, score = _record(Summary, last), _record(Score, last["scores"][0])
        validation = tuple(float(line["validation"]) for line in epochs if "validation" in line)
        if not epochs or len(validation) not in (0, len(epochs)):
            raise ValueError("epochs are missing")
        if not score.note.isprintable():
            raise ValueError("its note is no line of text")
        if summary.num_levels is not None and summary.num_levels < 2:
            raise ValueError(f"num_levels is {summary.num_levels}")
        shape = summary.image_shape
        if shape is not None and (len(shape) not in (2, 3) or min(shape) < 1):
            raise ValueError(f"image_shape is {shape}")
        for name in ("", "condition_"):
            kinds, columns = getattr(summary, f"{name}schema"), getattr(summary, f"{name}columns")
            if kinds is not None and Schema(kinds).columns != columns:
                raise ValueError(f"its {name}schema has not the columns {columns}")
        seconds = tuple(float(line["seconds"]) for line in epochs)
        score = replace(score, name=config.name)
        return Run(directory, config, summary, score, seconds, validation)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise ValueError(
            f"{directory / METRICS}: is not that of a whole run ({reason}): fit it again"
        ) from None


def _record(kind: type[Record], values: Mapping[str, Any]) -> Record:
    """Return a dataclass of values from a file; what later versions add is left out."""
    options = options_of(kind)
    return kind(**check_values({name: values[name] for name in options if name in values}, options))


def check_target(path: Path, *, overwrite: bool, is_file: bool = False) -> None:
    """Check that results can be written, before any work is done.

    Args:
        path: The directory or file that will be written.
        overwrite: Whether it may exist.
        is_file: Whether a file is meant.

    Raises:
        ValueError: The path exists, or nothing can be written there.
    """
    if path.exists() and path.is_file() != is_file:
        raise ValueError(f"{path} is a {'directory' if is_file else 'file'}: give another place")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists: give another place, or replace it with --overwrite")
    parent = next(parent for parent in path.parents if parent.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=parent):
            pass  # Permissions do not tell the whole story; a trial does.
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error}") from None


@contextmanager
def exclusive(path: Path, *, overwrite: bool) -> Iterator[None]:
    """Keep other processes from writing a directory of results at the same time.

    Args:
        path: The directory, which need not exist yet.
        overwrite: As in `check_target`: another process may have finished since that was called.

    Raises:
        ValueError: Another process is writing it, or it exists.
    """
    if jax.process_index() > 0:  # the first of several processes holds the lock for all
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with locked(path.with_name(f".{path.name}.lock")) as ours:
            if not ours:
                raise ValueError(
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
        ValueError: A run of that name was interrupted, and it is not said what to do with it.
    """
    directory = config.progress_dir
    if directory.exists() and overwrite and not resume and jax.process_index() == 0:
        shutil.rmtree(directory)
    multihost_utils.sync_global_devices("what an old run left is gone")
    if directory.exists() and not resume:
        raise ValueError(
            f"{config.run_dir} was interrupted, and {directory} holds what it had done: go on "
            "with --resume, or begin anew with --overwrite"
        )
    every = config.training["checkpoint_every"]
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
                if (directory / name).is_dir():
                    shutil.rmtree(directory / name)
                else:
                    (directory / name).unlink(missing_ok=True)
            if written:
                os.replace(written[0], directory / name)
    if progress and progress.exists():
        shutil.rmtree(progress)
