import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flowjax_lite.cli.run import directory as run


def test_existing_results_are_protected(tmp_path: Path) -> None:
    """Would catch a run or a file that is overwritten without being asked to."""
    (tmp_path / "file.npy").write_text("kept")
    with pytest.raises(ValueError, match=r"exists: give another place, or .*--overwrite"):
        run.check_target(tmp_path, overwrite=False)
    with pytest.raises(ValueError, match="exists"):
        run.check_target(tmp_path / "file.npy", overwrite=False, is_file=True)
    run.check_target(tmp_path, overwrite=True)
    run.check_target(tmp_path / "file.npy", overwrite=True, is_file=True)
    run.check_target(tmp_path / "new" / "deeper", overwrite=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.npy"]


def test_files_and_directories_do_not_replace_each_other(tmp_path: Path) -> None:
    """Would catch an hour of training that ends in an error because a file is in the way."""
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ValueError, match="is a file"):
        run.check_target(tmp_path / "file", overwrite=True)
    with pytest.raises(ValueError, match="is a directory"):
        run.check_target(tmp_path, overwrite=True, is_file=True)
    with pytest.raises(ValueError, match="cannot be written"):
        run.check_target(tmp_path / "file" / "run", overwrite=True)


def test_a_failure_leaves_the_directory_as_it_was(tmp_path: Path) -> None:
    """Would catch half a run, or an old model lost to a new run that failed."""
    target = tmp_path / "run"
    target.mkdir()
    (target / run.MODEL).write_text("old")
    with pytest.raises(RuntimeError), run.writing(target) as directory:
        (directory / run.MODEL).write_text("new")
        raise RuntimeError
    assert (target / run.MODEL).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_new_run_replaces_all_of_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    """Would catch a density picture of an earlier run, and a user's notes that are deleted."""
    target = tmp_path / "runs" / "run"
    with run.writing(target) as directory:
        (directory / run.DENSITY).write_text("old")
    (target / "notes.txt").write_text("kept")
    with run.writing(target) as directory:
        (directory / run.MODEL).write_text("new")
    assert sorted(path.name for path in target.iterdir()) == [run.MODEL, "notes.txt"]


def test_what_was_written_on_the_way_moves_in(tmp_path: Path) -> None:
    """Would catch an old directory in the way, and a result that a file of the way replaces."""
    target, live = tmp_path / "run", tmp_path / "run.running"
    for place in (target, live):
        (place / run.BOARD).mkdir(parents=True)
        (place / run.BOARD / place.name).write_text("events")
        (place / run.PROGRESS).write_text(place.name)
    (live / "checkpoints").mkdir()
    with pytest.raises(RuntimeError), run.writing(target, progress=live):
        raise RuntimeError
    assert (live / run.PROGRESS).exists()
    assert (target / run.PROGRESS).read_text() == "run"
    with run.writing(target, progress=live) as directory:
        (directory / run.MODEL).write_text("new")
    assert sorted(path.name for path in target.iterdir()) == sorted(
        [run.MODEL, run.BOARD, run.PROGRESS]
    )
    assert (target / run.PROGRESS).read_text() == "run.running"
    assert [path.name for path in (target / run.BOARD).iterdir()] == ["run.running"]
    assert not live.exists()


def test_two_runs_of_one_name_do_not_mix(tmp_path: Path) -> None:
    """Would catch two processes that write over each other, and a result that just appeared."""
    target = tmp_path / "runs" / "run"
    with run.exclusive(target, overwrite=False):
        code = (
            "import sys\nfrom pathlib import Path\nfrom flowjax_lite.cli.run import directory\n"
            "with directory.exclusive(Path(sys.argv[1]), overwrite=True): pass"
        )
        other = subprocess.run(
            [sys.executable, "-c", code, str(target)], capture_output=True, text=True
        )
        assert "run is being written by another process" in other.stderr
        target.mkdir()
    with pytest.raises(ValueError, match="exists"), run.exclusive(target, overwrite=False):
        pass
    with run.exclusive(target, overwrite=True):
        pass
    assert [path.name for path in target.parent.iterdir()] == ["run"]


def test_what_is_no_run(tmp_path: Path) -> None:
    """Would catch a traceback for a wrong path."""
    with pytest.raises(ValueError, match=r"is not a run directory: it holds no config.yaml"):
        run.read(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"seconds": ', '"minutes": ', "missing key 'seconds'"),
        ('"validation": -', '"validation": "a", "b": -', "expected a number, got 'a'"),
        ('"scores": [{"name"', '"scores": [], "others": [{"name"', "index"),
        ('"test": -', '"rest": -', "missing key 'test'"),
        ('"note": "', '"note": "\\u001b', "no line of text"),
        ('"columns": ["x0"', '"columns": [3', "columns: expected text in quotes, got 3"),
        ('"num_levels": null', '"num_levels": 0', "num_levels is 0"),
        ("}]", "}", "delimiter"),
    ],
)
def test_metrics_from_strangers(
    tiny_run: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    """Would catch a traceback for a metrics file that is not ours, and control of the terminal."""
    directory = tmp_path / "run"
    shutil.copytree(tiny_run, directory)
    assert run.read(directory).score.name == "tiny"
    text = (directory / run.METRICS).read_text()
    assert old in text
    (directory / run.METRICS).write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=f"metrics.jsonl: is not that of a whole .*{message}"):
        run.read(directory)
