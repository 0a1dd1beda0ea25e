"""Saving a run on its way, and going on from there with the same bits."""

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Mapping
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
from flowjax_lite.training.record import Record

Tree = TypeVar("Tree")

_FORMAT = 2
_PACKAGES = ("jax", "jaxlib", "flax", "optax")


@dataclass(frozen=True)
class Checkpoint:
    """Where a run saves itself, how often, and whether it goes on from there.

    Saves happen in the background, and each is whole or not there at all, also where the process
    is killed during one. A run that was interrupted at any instant and goes on ends with the
    bits of one that was not, on the same machine with the same versions.

    Attributes:
        directory: where checkpoints lie, a directory each; made where it is missing.
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
    """The checkpoints of one run, open for reading and writing."""

    def __init__(self, settings: Checkpoint, identity: Mapping[str, Any], num_devices: int) -> None:
        """Open the directory.

        Args:
            settings: what the user asked for.
            identity: what makes the run the same run, plain numbers and text by name.
            num_devices: on which the last digits depend.

        Raises:
            NotADirectoryError: the directory is a file.
        """
        import orbax.checkpoint as ocp

        self._settings, self._identity = settings, dict(identity)
        self._versions = _versions() | {"devices": str(num_devices)}
        self._directory = Path(settings.directory).absolute()  # orbax takes no other
        for path in (self._directory, *self._directory.parents):
            if path.exists() and not path.is_dir():
                raise NotADirectoryError(
                    f"the checkpoint's directory is {self._directory}, and {path} is a file: give "
                    f"another directory"
                )
        self._args = ocp.args
        self._manager = ocp.CheckpointManager(
            self._directory,
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "manifest": ocp.JsonCheckpointHandler(),
            },
            options=ocp.CheckpointManagerOptions(
                max_to_keep=settings.keep, cleanup_tmp_directories=True
            ),
        )

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
        steps = sorted(self._manager.all_steps(), reverse=True)
        if steps and not self._settings.resume:
            raise FileExistsError(
                f"{self._directory} holds a run, saved at step {steps[0]}: go on with it by "
                f"Checkpoint(directory, resume=True), or give another directory"
            )
        for step in steps:
            try:
                return self._read(step, template)
            except _OtherRunError as error:
                raise ValueError(f"{self._directory / str(step)} {error}") from None
            except Exception as error:  # a damaged file can make its reader raise anything
                self._put_aside(step, error)
        if steps:
            raise ValueError(
                f"all checkpoints in {self._directory} are damaged: start anew in another "
                f"directory, or put back a copy of one"
            )
        return None

    def save(self, step: int, tree: Any, record: Record) -> None:
        """Save in the background.

        Args:
            step: how many are done.
            tree: arrays of numpy that nobody changes later.
            record: of the same instant.
        """
        arrays = _filled(tree)
        manifest = {
            "format": _FORMAT,
            "versions": self._versions,
            "run": self._identity,
            "record": dataclasses.asdict(record),
            "arrays": {name: _described(array) for name, array in arrays.items()},
        }
        manifest["sha256"] = _checksum(manifest)
        self._manager.save(
            step,
            args=self._args.Composite(
                state=self._args.StandardSave(arrays), manifest=self._args.JsonSave(manifest)
            ),
        )

    def close(self) -> None:
        """Wait until everything is on the disk."""
        self._manager.close()

    def _put_aside(self, step: int, error: Exception) -> None:
        """Make way for the same step to be saved again."""
        place, aside = self._directory / str(step), self._directory / f"damaged-{step}"
        if jax.process_index() == 0:
            place.rename(aside)
        multihost_utils.sync_global_devices(f"{place} put aside")
        self._manager.reload()
        warnings.warn(
            f"the checkpoint {place} is damaged and is passed over, and is now {aside}: "
            f"{type(error).__name__}: {str(error)[:200]}",
            RuntimeWarning,
            stacklevel=5,
        )

    def _read(self, step: int, template: Tree) -> tuple[Tree, Record]:
        args = self._args
        manifest = self._manager.restore(step, args=args.Composite(manifest=args.JsonRestore()))
        manifest = dict(manifest.manifest)
        if manifest.pop("sha256", None) != _checksum(manifest):
            raise ValueError("the checksum of its manifest does not agree")
        self._check_same_run(manifest)
        filled = _filled(template)
        # Nothing is allocated before the sizes that the files declare are those expected.
        declared = self._manager.item_metadata(step).state.tree
        for name, leaf in filled.items():
            if name not in declared or tuple(declared[name].shape) != leaf.shape:
                raise ValueError(
                    f"array {name} is missing or of another shape than in the manifest"
                )
        target = {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in filled.items()}
        restored = self._manager.restore(
            step, args=args.Composite(state=args.StandardRestore(target))
        )
        arrays = restored.state
        for name, array in arrays.items():
            if _described(array) != manifest["arrays"][name]:
                raise ValueError(f"the checksum of array {name} does not agree")
        record = manifest["record"]
        record["first_skipped"] = record["first_skipped"] and tuple(record["first_skipped"])
        tree = map_named(lambda name, leaf: jnp.array(arrays.get(name, leaf)), template)
        return tree, Record(**record)

    def _check_same_run(self, manifest: Mapping[str, Any]) -> None:
        if manifest["format"] != _FORMAT:
            raise _OtherRunError(
                f"was written in format {manifest['format']}, and this flowjax_lite reads format "
                f"{_FORMAT}: go on with the version that wrote it, {manifest['versions']}"
            )
        saved = manifest["run"]
        for name, value in self._identity.items():
            if saved.get(name) != value:
                raise _OtherRunError(
                    f"is of another run: its {name} was {saved.get(name)!r} and is now {value!r}; "
                    f"go on with the same settings, or give another directory"
                )
        if manifest["versions"] != self._versions:
            warnings.warn(
                f"the run was saved with {manifest['versions']} and goes on with {self._versions}: "
                f"its last digits may differ from those of one that was not interrupted",
                RuntimeWarning,
                stacklevel=6,
            )


class _OtherRunError(Exception):
    """A checkpoint that is whole, and of no use to this run."""


def _filled(tree: Any) -> dict[str, Any]:
    """The arrays of a pytree by name, but for those without numbers, which orbax refuses."""
    return {name: leaf for name, leaf in named_leaves(tree).items() if leaf.size}


def _described(array: np.ndarray) -> dict[str, Any]:
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": digest}


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _versions() -> dict[str, str]:
    return {"flowjax-lite": library_version(), **{name: version(name) for name in _PACKAGES}}
