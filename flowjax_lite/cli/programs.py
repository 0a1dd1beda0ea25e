"""Compiled programs, which one command keeps for the next."""

import os
from pathlib import Path

import jax

from flowjax_lite.core.extra import import_extra

MOST_KEPT = 2**30  # bytes; beyond it those that were used longest ago are dropped


def keep_programs() -> None:
    """Let JAX keep compiled programs in the user's cache, unless it was told where, or not to.

    A home that cannot be written to is left alone: every command compiles its own then.

    Raises:
        ImportError: filelock is not installed, by which commands at one time share them.
    """
    given, allowed = "jax_compilation_cache_dir", "jax_enable_compilation_cache"
    if getattr(jax.config, given) or not getattr(jax.config, allowed):
        return
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        directory = home / "flowjax_lite" / "programs"
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # the latter where nobody knows a home
        return
    if not os.access(directory, os.W_OK):
        return
    import_extra("filelock", "cli")
    jax.config.update(given, str(directory))
    jax.config.update("jax_compilation_cache_max_size", MOST_KEPT)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
