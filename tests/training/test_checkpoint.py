"""Checkpoints: an interrupted run ends with the bits of one that was not."""

import gc
import shutil
import time
import tracemalloc
import warnings
from collections import Counter
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from helpers import interrupted
from helpers.interrupted import last, newest, settings, tiny

import flowjax_lite as fl
from flowjax_lite.core.pytree import named_leaves
from flowjax_lite.training import checkpoint as module
from flowjax_lite.training.epoch import first_state
from flowjax_lite.training.optimizer import over_steps

# A reader that stops midway leaves others behind, whose errors nobody awaits.
lost_readers = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The checkpoints of a run that was not interrupted."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    fl.fit(tiny(), **settings(directory))
    return directory


def copy_of(directory: Path, tmp_path: Path) -> Path:
    """A directory to spoil."""
    return Path(shutil.copytree(directory, tmp_path / "copy"))


@pytest.mark.parametrize("every", [5, 7, 1000])
def test_pieces_have_the_bits_of_the_whole(every: int, whole: Path, tmp_path: Path):
    """Catches a step that depends on where the run was cut."""
    result = fl.fit(tiny(), **settings(tmp_path / "run", every=every))
    assert last(tmp_path / "run") == last(whole)
    uncut = fl.fit(tiny(), **settings(tmp_path / "run") | {"checkpoint": None})
    assert all(map(np.array_equal, *map(jax.tree.leaves, (result.flow, uncut.flow))))
    without_time = [{k: v for k, v in r.history.items() if k != "seconds"} for r in (result, uncut)]
    assert without_time[0] == without_time[1]


@pytest.mark.parametrize("step", [31, 32])
def test_a_run_goes_on_in_the_middle_of_an_epoch(step: int, whole: Path, tmp_path: Path):
    """Catches state that is not saved: the order of rows, the schedule, the history, the best."""
    directory = copy_of(whole, tmp_path)
    for later in range(step + 1, 34):
        shutil.rmtree(directory / str(later), ignore_errors=True)
    result = fl.fit(tiny(), **settings(directory))
    assert last(directory) == last(whole)
    assert len(result.history["seconds"]) == 3
    assert list(result.history["seconds"]) == sorted(result.history["seconds"])


def test_a_finished_run_returns_what_it_returned(whole: Path):
    """Catches a run that trains on, or forgets, when it is asked to go on after its end."""
    first, second = (fl.fit(tiny(), **settings(whole)) for _ in range(2))
    assert first.history == second.history
    assert first.best_epoch == second.best_epoch
    assert all(map(np.array_equal, *map(jax.tree.leaves, (first.flow, second.flow))))


def test_only_the_newest_are_kept(whole: Path):
    """Catches a disk that fills up."""
    assert sorted(int(path.name) for path in whole.iterdir()) == [31, 32, 33]


def test_a_run_is_not_overwritten(whole: Path):
    """Catches a second run in the directory of the first."""
    with pytest.raises(FileExistsError, match=r"saved at step 33.*resume=True"):
        fl.fit(tiny(), **settings(whole, checkpoint=fl.Checkpoint(whole)))
    assert last(whole)[0] == 33


def shifted(by: float):
    """A loss whose only setting lies in its closure."""

    def loss(flow, x, condition=None, weights=None, key=None):
        return fl.negative_log_likelihood(flow, x, condition, weights, key) + by

    return loss


def spline(**options) -> fl.Flow:
    """A flow whose arrays do not tell its settings."""
    return fl.flows.nsf_coupling(dim=2, num_layers=1, hidden=(4,), rngs=nnx.Rngs(0), **options)


OTHER = {
    "key": ({}, {"key": 1}),
    "batch_size": ({}, {"batch_size": 20}),
    "max_epochs": ({}, {"max_epochs": 4}),
    "data": ({}, {"data": settings(Path())["data"] + 1}),
    "optimizer": ({}, {"optimizer": fl.AdamW(schedule="linear")}),
    "optimizer, of optax": ({}, {"optimizer": optax.adam(1e-3)}),
    "optimizer, its settings": (
        {"optimizer": optax.adam(1e-3)},
        {"optimizer": optax.adam(2e-3)},
    ),
    "loss": ({}, {"loss": shifted(0.0)}),
    "loss, its settings": ({"loss": shifted(0.0)}, {"loss": shifted(1.0)}),
    "flow": ({}, {"flow": fl.flows.nice(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))}),
    "flow, activation": ({"flow": spline()}, {"flow": spline(activation="tanh")}),
    "flow, bound": ({"flow": spline()}, {"flow": spline(bound=4.0)}),
    "flow, precision": ({"flow": spline()}, {"flow": spline(compute_dtype="bfloat16")}),
}


@pytest.mark.parametrize("name", OTHER)
def test_another_run_is_refused(name: str, whole: Path, tmp_path: Path):
    """Catches a run that goes on with other data or settings, as if it were the same."""
    before, now = OTHER[name]
    directory = whole
    if before:
        directory = tmp_path / "run"
        fl.fit(**{"flow": tiny()} | settings(directory, **before) | {"max_epochs": 1})
        now = now | {"max_epochs": 1}
        fl.fit(**{"flow": tiny()} | settings(directory, **before) | {"max_epochs": 1})  # the twin
    with pytest.raises(ValueError, match=f"is of another run: its {name.split(',')[0]} was"):
        fl.fit(**{"flow": tiny()} | settings(directory, **now))
    assert last(directory)[0] == (11 if before else 33)


def test_a_path_is_a_checkpoint(whole: Path, tmp_path: Path):
    """Catches a path that is refused, or that begins a run anew; and orbax's word on a file."""
    directory = copy_of(whole, tmp_path)
    result = fl.fit(tiny(), **settings(Path(), checkpoint=str(directory)))
    assert len(result.history["train"]) == 3
    assert last(directory) == last(whole)
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(NotADirectoryError, match=r"file is a file: give another directory"):
            fl.fit(tiny(), **settings(Path(), checkpoint=path))


def test_other_versions_are_told(whole: Path, tmp_path: Path, monkeypatch):
    """Catches last digits that differ without a word."""
    monkeypatch.setattr(module, "_versions", lambda: {"jax": "0.0"})
    with pytest.warns(RuntimeWarning, match="its last digits may differ"):
        fl.fit(tiny(), **settings(copy_of(whole, tmp_path)))


def damage(directory: Path, rng: np.random.Generator) -> None:
    """Flip a bit of one file of the newest checkpoint, or cut it off."""
    files = [
        path for path in (directory / "33").rglob("*") if path.is_file() and path.stat().st_size
    ]
    sizes = np.array([path.stat().st_size for path in files])
    path = files[rng.choice(len(files), p=sizes / sizes.sum())]
    content = bytearray(path.read_bytes())
    place = int(rng.integers(len(content)))
    if rng.random() < 0.8:
        content[place] ^= 1 << int(rng.integers(8))
    else:
        del content[place:]
    path.write_bytes(content)


def restored(directory: Path) -> list[np.ndarray]:
    """The arrays of the newest checkpoint that can be read."""
    state = first_state(tiny(), over_steps(fl.AdamW(), 33), num_steps=11)
    options = fl.Checkpoint(directory, resume=True)
    with closing(module.Checkpoints(options, {}, num_devices=1)) as checkpoints:
        arrays, _ = checkpoints.restore({"state": state, "best": tiny()})
    return [np.asarray(leaf) for leaf in jax.tree.leaves(arrays)]


def outcomes(directory: Path, tmp_path: Path, trials: int) -> Counter[str]:
    """How often damage was found, did no harm, and was read as if it were right."""
    found, rng, expected = Counter(), np.random.default_rng(0), restored(directory)
    for trial in range(trials):
        damaged = copy_of(directory, tmp_path / str(trial))
        damage(damaged, rng)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            arrays = restored(damaged)
        same = all(map(np.array_equal, arrays, expected))
        told = any("33 is damaged and is passed over" in str(w.message) for w in caught)
        found["found" if told else "harmless" if same else "wrong"] += 1
        shutil.rmtree(tmp_path / str(trial))
    gc.collect()  # what readers left is told here, and not in a later test
    return found


@lost_readers
def test_damage_is_found(whole: Path, tmp_path: Path):
    """Catches flipped bits and cut files that are read as if they were right.

    Some do no harm, in files that nothing reads or in what readers skip.
    """
    found = outcomes(whole, tmp_path, 40)
    assert found["found"] > 13
    assert found["wrong"] == 0


@lost_readers
def test_without_checksums_damage_would_load(tmp_path: Path, monkeypatch):
    """The twin: catches damage that readers find by themselves, so that the test shows nothing."""
    blind = SimpleNamespace(sha256=lambda *content: Mock(hexdigest=lambda: "blind"))
    monkeypatch.setattr(module, "hashlib", blind)
    fl.fit(tiny(), **settings(tmp_path / "whole"))
    assert outcomes(tmp_path / "whole", tmp_path, 30)["wrong"] > 0


@lost_readers
def test_the_checkpoint_before_a_damaged_one_is_used(whole: Path, tmp_path: Path):
    """Catches a run that ends elsewhere, or not at all, after its newest checkpoint broke."""
    directory = copy_of(whole, tmp_path)
    (directory / "33" / "manifest" / "metadata").write_text("{")
    with pytest.warns(RuntimeWarning, match=r"33 is damaged and is passed over, and is now .*-33"):
        fl.fit(tiny(), **settings(directory))
    assert last(directory) == last(whole)
    gc.collect()


def test_a_declared_size_is_checked_before_it_is_allocated(whole: Path, tmp_path: Path):
    """Catches an array file of a few bytes that declares gigabytes, beside a manifest to match."""
    directory = copy_of(whole, tmp_path)
    path = directory / "33" / "state"
    shutil.rmtree(path)
    import orbax.checkpoint as ocp

    state = first_state(tiny(), over_steps(fl.AdamW(), 33), num_steps=11)
    names = named_leaves({"state": state, "best": tiny()})
    huge = {name: np.asarray(leaf) for name, leaf in names.items()}
    name = next(name for name in huge if name.startswith("state"))
    huge[name] = np.zeros((5000, 5000), np.float32)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), huge)
    tracemalloc.start()
    with pytest.warns(RuntimeWarning, match=f"array {name} is missing or of another shape"):
        restored(directory)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_all_damaged_is_an_error(whole: Path, tmp_path: Path):
    """Catches a run that silently begins anew."""
    directory = copy_of(whole, tmp_path)
    for path in directory.glob("*/manifest/metadata"):
        path.write_text("{}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match=r"all checkpoints in .* are damaged: start anew"):
            fl.fit(tiny(), **settings(directory))
    assert ["33 is damaged" in str(w.message) for w in caught] == [True, False, False]


def test_killed_at_any_instant(tmp_path: Path):
    """Catches a checkpoint that is half written, or that does not hold all: 15 times SIGKILL."""

    def start(directory: Path) -> BaseProcess:
        process = interrupted.PROCESSES.Process(target=interrupted.train, args=(directory,))
        process.start()
        return process

    def go_on_to_the_end(directory: Path) -> None:
        process = start(directory)
        process.join()
        assert process.exitcode == 0

    go_on_to_the_end(tmp_path / "whole")
    rng, steps, kills, run = np.random.default_rng(0), [], 0, 0
    while kills < 15:
        directory = tmp_path / f"run {run}"
        process, goal = start(directory), newest(directory) + rng.integers(1, 4)
        while process.exitcode is None and newest(directory) < goal:
            time.sleep(1e-3)
        process.join(rng.uniform(0.0, 0.05))  # about as long as a save takes
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
            steps.append(newest(directory))
        else:
            assert process.exitcode == 0
            assert last(directory) == last(tmp_path / "whole")
            run += 1
    go_on_to_the_end(directory)
    assert last(directory) == last(tmp_path / "whole")
    assert len(set(steps)) > 5, steps  # the twin: kills fell within runs, not before or after
