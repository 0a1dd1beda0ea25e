"""What a run writes for TensorBoard."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.interrupted import settings, tiny
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

import flowjax_lite as fl
from flowjax_lite.training import Progress, TensorBoard


def events(directory: Path) -> list[Event]:
    """All events of the one file in a directory, their checksums compared."""
    (path,) = directory.iterdir()
    assert "tfevents" in path.name
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        header, (check,) = content[:8], struct.unpack("<I", content[8:12])
        assert masked_crc32c(header) == check
        event, content = content[12 : 12 + length], content[12 + length :]
        assert struct.pack("<I", masked_crc32c(event)) == content[:4]
        found.append(Event.FromString(event))
        content = content[4:]
    return found


def check(directory: Path, history: dict[str, tuple[float, ...]]) -> None:
    """Compare an event file with a history."""
    version, *steps = events(directory)
    assert version.file_version == "brain.Event:2"
    assert [event.step for event in steps] == list(range(len(history["train"])))
    columns: dict[str, list[float]] = {}
    for event in steps:
        for value in event.summary.value:
            columns.setdefault(value.tag, []).append(value.simple_value)
    assert columns.keys() == history.keys()
    for name, values in history.items():
        np.testing.assert_array_equal(columns[name], np.float32(values))
    passed = [event.wall_time - version.wall_time for event in steps]
    np.testing.assert_allclose(passed, history["seconds"], atol=1e-5)


def progress(**history: list[float]) -> Progress:
    """What a callback is given, without a model."""
    return Progress(len(history["seconds"]) - 1, history, 0, tiny(), tiny())


def test_each_epoch_once(tmp_path: Path):
    """Catches a value that is lost, and an epoch that is there twice after a run went on."""
    board = TensorBoard(tmp_path / "board")
    options = settings(tmp_path / "run", callbacks=[board], every=11)
    whole = fl.fit(tiny(), **options | {"checkpoint": None})
    check(tmp_path / "board", whole.history)

    def killed(progress: Progress) -> None:
        if progress.epoch == 1:
            raise KeyboardInterrupt

    # After epoch 1 is written and before it is saved.
    with pytest.warns(RuntimeWarning, match="interrupted"):
        fl.fit(tiny(), **options | {"callbacks": [board, killed]})
    assert len(events(tmp_path / "board")) == 3
    result = fl.fit(tiny(), **options)
    assert len(result.history["train"]) == 3
    check(tmp_path / "board", result.history)


def test_epochs_are_added_at_the_end(tmp_path: Path):
    """Catches a file that is replaced, which TensorBoard, once it has opened it, reads no more."""
    board, history = TensorBoard(tmp_path), {"seconds": [0.5], "a b": [float("nan")]}
    board(progress(**history))
    (path,) = tmp_path.iterdir()
    before, inode = path.read_bytes(), path.stat().st_ino
    history = {"seconds": [0.5, 0.75], "a b": [float("nan"), 2.0]}
    board(progress(**history))
    assert path.read_bytes().startswith(before)
    assert path.stat().st_ino == inode
    assert [value.simple_value for value in events(tmp_path)[2].summary.value] == [0.75, 2.0]


@pytest.mark.parametrize("cut", [1, 20, 1000])
def test_a_file_that_was_cut_off_is_whole_again(tmp_path: Path, cut: int):
    """Catches an epoch added after half a record, where no reader finds it."""
    board, history = TensorBoard(tmp_path), {"seconds": [0.5, 1.0], "train": [2.0, 1.0]}
    (tmp_path / "notes.txt").write_text("kept")
    board(progress(**history))
    (path,) = tmp_path.glob("*tfevents*")
    path.write_bytes(path.read_bytes()[:-cut])
    board(progress(**history))
    (tmp_path / "notes.txt").unlink()
    check(tmp_path, history)


def test_another_run_takes_the_place(tmp_path: Path):
    """Catches the later epochs of an earlier run, drawn as if they were of this one."""
    board = TensorBoard(tmp_path)
    board(progress(seconds=[0.5, 1.0], train=[2.0, 1.0]))
    board(progress(seconds=[0.5], train=[3.0]))
    check(tmp_path, {"seconds": [0.5], "train": [3.0]})


def test_a_missing_package_is_named_before_training(monkeypatch: pytest.MonkeyPatch):
    """Catches an epoch of training that ends in an error without advice."""
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r'pip install "flowjax-lite\[tensorboard\]"'):
        TensorBoard("board")
