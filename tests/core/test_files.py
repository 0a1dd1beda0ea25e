"""Files that are written whole or not at all, and locks between processes."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flowjax_lite.core.files import locked, writing_whole


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    """Would catch a file that is emptied first, and a temporary file that stays."""
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), writing_whole(path) as file:
        file.write(b"ne")
        raise RuntimeError
    assert path.read_text() == "old"
    with writing_whole(path) as file:
        file.write(b"new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    """Would catch a lock that keeps nobody out, or that stays when its file does not."""
    path = tmp_path / "lock"
    with locked(path) as first, locked(path) as second:
        assert first and not second
    assert not path.exists()
    with pytest.raises(RuntimeError), locked(path):
        raise RuntimeError
    with locked(path) as again:
        assert again


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    """Would catch a run that nobody can repeat because the first was killed."""
    path = tmp_path / "lock"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom flowjax_lite.core.files import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline() == b"held\n"
    with locked(path) as ours:
        assert not ours
    other.kill()
    other.communicate()
    assert path.exists()
    with locked(path) as ours:
        assert ours


def test_many_holders_follow_each_other(tmp_path: Path) -> None:
    """Would catch two holders, where one locks the file that the other is about to remove."""
    path, inside, most = tmp_path / "lock", [], []

    def hold() -> None:
        for _ in range(200):
            with locked(path) as ours:
                if ours:
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most and max(most) == 1
