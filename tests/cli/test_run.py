from pathlib import Path

import pytest

from flowjax_lite.cli import run
from flowjax_lite.cli.errors import CommandError


def test_existing_results_are_protected(tmp_path: Path) -> None:
    """Would catch a run or a file that is overwritten without being asked to."""
    (tmp_path / "file.npy").write_text("kept")
    with pytest.raises(CommandError, match=r"exists: give another place, or .*--overwrite"):
        run.check_target(tmp_path, overwrite=False)
    with pytest.raises(CommandError, match="exists"):
        run.check_target(tmp_path / "file.npy", overwrite=False, is_file=True)
    run.check_target(tmp_path, overwrite=True)
    run.check_target(tmp_path / "file.npy", overwrite=True, is_file=True)
    run.check_target(tmp_path / "new" / "deeper", overwrite=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.npy"]


def test_files_and_directories_do_not_replace_each_other(tmp_path: Path) -> None:
    """Would catch an hour of training that ends in an error because a file is in the way."""
    (tmp_path / "file").write_text("kept")
    with pytest.raises(CommandError, match="is a file"):
        run.check_target(tmp_path / "file", overwrite=True)
    with pytest.raises(CommandError, match="is a directory"):
        run.check_target(tmp_path, overwrite=True, is_file=True)
    with pytest.raises(CommandError, match="cannot be written"):
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


def test_what_is_no_run(tmp_path: Path) -> None:
    """Would catch a traceback for a wrong path, and a metrics file that was cut off."""
    with pytest.raises(CommandError, match=r"is not a run directory: it holds no config.yaml"):
        run.read(tmp_path)
    (tmp_path / run.METRICS).write_text('{"epoch": 1}\n{"scores"')
    with pytest.raises(CommandError, match=r"metrics.jsonl: cannot be read"):
        run.read_summary(tmp_path)
