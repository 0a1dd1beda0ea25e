"""Where the commands keep what they have compiled."""

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from flowjax_lite.cli.programs import MOST_KEPT, keep_programs

NAMES = (
    "jax_compilation_cache_dir",
    "jax_compilation_cache_max_size",
    "jax_persistent_cache_min_compile_time_secs",
)


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """JAX's settings afterwards; before, JAX was told nothing, and the cache is a directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = {name: getattr(jax.config, name) for name in NAMES}
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_programs_are_kept_in_the_users_cache(tmp_path: Path):
    """Catches a directory of ours beside that of other programs, and one that only grows."""
    keep_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "flowjax_lite" / "programs")
    assert jax.config.jax_compilation_cache_max_size == MOST_KEPT


def test_a_directory_that_is_given_stays(tmp_path: Path):
    """Catches a setting of the user that is written over."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    keep_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")


def test_a_home_that_cannot_be_written_to_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Catches a command that fails where it could compile its programs itself."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_programs()
    assert jax.config.jax_compilation_cache_dir is None
