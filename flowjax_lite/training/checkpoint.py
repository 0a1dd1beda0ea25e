"""Saving a run on its way, and going on from there with the same bits."""

import dataclasses
import json
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.core.pytree import map_named, named_leaves
from flowjax_lite.core.version import library_version
from flowjax_lite.io import model_file
from flowjax_lite.training.record import Record

Tree = TypeVar("Tree")

_FORMAT = 3
_PACKAGES = ("jax", "jaxlib", "flax", "optax")
_ENDING = ".safetensors"
_RECORD = "record"  # the name of an array of text


@dataclass(frozen=True)
class Checkpoint:
    """Where a run saves itself, how often, and whether it goes on from there.

    Saves happen in the background, and each is whole or not there at all, also where the process
    is killed during one. A run that was interrupted at any instant and goes on ends with the
    bits of one that was not, on the same machine with the same versions.

    Attributes:
        directory: where checkpoints lie, a file each; made where it is missing.
        every: steps between them.
        keep: how many of the newest remain.
        resume: go on with the run that the directory holds, if any. Without it such a directory
            is refused.
    """

    directory: str | PathLike[str]
    every: int = 1000
    keep: int = 3
    resume: bool = False

    def __post_init__(self) -> None:
        check_positive_int(self.every, "every")
        check_positive_int(self.keep, "keep")


class Checkpoints:
    """The checkpoints of one run; the first process of several writes them, all of them read."""

    def __init__(self, settings: Checkpoint, identity: Mapping[str, Any], num_devices: int) -> None:
        """Open the directory.

        Args:
            settings: what the user asked for.
            identity: what makes the run the same run, plain numbers and text by name.
            num_devices: on which the last digits depend.

        Raises:
            NotADirectoryError: the directory is a file.
            ValueError: it holds a run of an earlier format.
        """
        self._settings, self._directory = settings, Path(settings.directory)
        versions = _versions() | {"devices": str(num_devices)}
        self._run: dict[str, Any] = {"format": _FORMAT, "versions": versions, "run": identity}
        for path in (self._directory, *self._directory.parents):
            if path.exists() and not path.is_dir():
                raise NotADirectoryError(
                    f"the checkpoint's directory is {self._directory}, and {path} is a file: give "
                    f"another directory"
                )
        self._directory.mkdir(parents=True, exist_ok=True)
        if any(path.name.isdigit() for path in self._directory.iterdir()):
            raise ValueError(
                f"{self._directory} holds a run in the format of an earlier flowjax_lite: go on "
                f"with the version that wrote it, or give another directory"
            )
        self._writer = ThreadPoolExecutor(1, "flowjax_lite-writer")
        self._last_save: Future[None] | None = None

    def next_step(self, step: int) -> int:
        """The step before which to stop and save."""
        return step + self._settings.every - step % self._settings.every

    def is_due(self, step: int) -> bool:
        """Whether to save now."""
        return step % self._settings.every == 0

    def restore(self, template: Tree) -> tuple[Tree, Record] | None:
        """The newest checkpoint that is whole, or None where there is none to go on from.

        Args:
            template: arrays of the same structure, shapes and dtypes.

        Raises:
            FileExistsError: there are checkpoints, and `resume` is False.
            ValueError: they are of another run, or all are damaged.
        """
        steps = self._steps()
        multihost_utils.sync_global_devices("checkpoints are listed")
        if steps and not self._settings.resume:
            raise FileExistsError(
                f"{self._directory} holds a run, saved at step {steps[-1]}: go on with it by "
                f"Checkpoint(directory, resume=True), or give another directory"
            )
        for step in reversed(steps):
            try:
                return self._read(self._path(step), template)
            except _OtherRunError as error:
                raise ValueError(f"{self._path(step)} {error}") from None
            except Exception as error:  # a damaged file can make its reader raise anything
                self._put_aside(self._path(step), error)
        if steps:
            raise ValueError(
                f"all checkpoints in {self._directory} are damaged: start anew in another "
                f"directory, or put back a copy of one"
            )
        return None

    def save(self, step: int, tree: Any, record: Record) -> None:
        """Save in the background, when the save before has ended.

        Args:
            step: how many are done.
            tree: arrays of numpy that nobody changes later.
            record: of the same instant.
        """
        if self._last_save is not None:
            self._last_save.result()
        # As an array, since the text of a file is bounded and a history is not.
        history = np.frombuffer(json.dumps(dataclasses.asdict(record)).encode(), np.uint8)
        if jax.process_index() == 0:
            arrays = named_leaves(tree) | {_RECORD: history}
            self._last_save = self._writer.submit(self._write, self._path(step), arrays)

    def close(self) -> None:
        """Wait until everything is on the disk."""
        self._writer.shutdown()
        if self._last_save is not None:
            self._last_save.result()

    def _path(self, step: int) -> Path:
        return self._directory / f"{step}{_ENDING}"

    def _steps(self) -> list[int]:
        names = (path.stem for path in self._directory.glob(f"*{_ENDING}"))
        return sorted(int(name) for name in names if name.isdigit())

    def _write(self, path: Path, arrays: Mapping[str, np.ndarray]) -> None:
        model_file.write(path, arrays, run=json.dumps(self._run))
        for old in self._steps()[: -self._settings.keep]:
            self._path(old).unlink()
        for path in self._directory.glob(f".*{_ENDING}.*.tmp"):  # of saves that were killed
            path.unlink()

    def _read(self, path: Path, template: Tree) -> tuple[Tree, Record]:
        run, arrays = model_file.read(path, "run")
        self._check_same_run(json.loads(run))
        record = json.loads(arrays.pop(_RECORD).tobytes())
        record["first_skipped"] = record["first_skipped"] and tuple(record["first_skipped"])
        shapes, expected = (
            {name: leaf.shape for name, leaf in leaves.items()}
            for leaves in (arrays, named_leaves(template))
        )
        for name in shapes.keys() | expected.keys():
            if shapes.get(name) != expected.get(name):
                raise ValueError(f"array {name} is missing or of another shape")
        return map_named(lambda name, _: jnp.array(arrays[name]), template), Record(**record)

    def _put_aside(self, path: Path, error: Exception) -> None:
        """Make way for the same step to be saved again."""
        aside = path.with_name(f"damaged-{path.name}")
        if jax.process_index() == 0:
            path.rename(aside)
        multihost_utils.sync_global_devices(f"{path.name} is put aside")
        warnings.warn(
            f"the checkpoint {path} is damaged and is passed over, and is now {aside}: "
            f"{type(error).__name__}: {str(error)[:200]}",
            RuntimeWarning,
            stacklevel=5,
        )

    def _check_same_run(self, saved: Mapping[str, Any]) -> None:
        if saved["format"] != _FORMAT:
            raise _OtherRunError(
                f"was written in format {saved['format']}, and this flowjax_lite reads format "
                f"{_FORMAT}: go on with the version that wrote it, {saved['versions']}"
            )
        for name, value in self._run["run"].items():
            if saved["run"].get(name) != value:
                raise _OtherRunError(
                    f"is of another run: its {name} was {saved['run'].get(name)!r} and is now "
                    f"{value!r}; go on with the same settings, or give another directory"
                )
        if saved["versions"] != self._run["versions"]:
            warnings.warn(
                f"the run was saved with {saved['versions']} and goes on with "
                f"{self._run['versions']}: its last digits may differ from those of one that was "
                f"not interrupted",
                RuntimeWarning,
                stacklevel=6,
            )


class _OtherRunError(Exception):
    """A checkpoint that is whole, and of no use to this run."""


def _versions() -> dict[str, str]:
    return {"flowjax-lite": library_version(), **{name: version(name) for name in _PACKAGES}}
