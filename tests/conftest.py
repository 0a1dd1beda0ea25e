"""What all tests share: the platform, strict shapes, and the two precisions."""

import os
import time
from importlib.metadata import version
from pathlib import Path

# Set before jax starts. The tests are about mathematics: they run alike with and without a GPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Each program runs a few times, so nearly all of its time would go into optimising it. The last
# flag is no option of later versions, which have no other way to compile.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    + " --xla_cpu_parallel_codegen_split_count=1 --xla_disable_hlo_passes="
    + "while-loop-invariant-code-motion,while-loop-constant-sinking,tree_reduction_rewriter"
    + " --xla_cpu_use_fusion_emitters=false" * version("jaxlib").startswith("0.10."),
)
# Nobody reads where in the source an operation of a compiled program stands.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
# What one worker or a process of a test has compiled, the others and the next run read from here.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# Two workers on two cores: threads of numpy and scikit-learn that wait for a core keep it busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import ctypes
import gc
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

# An array of the wrong rank that broadcasts anyway is a wrong density without an error.
jax.config.update("jax_numpy_rank_promotion", "raise")
# Compiled programs fill the heap with objects that live long: to look through all of them for
# garbage again and again would take a tenth of the time.
gc.set_threshold(100_000, 20, 100)
# A process that holds more than this after a test forgets its programs.
MEMORY_LIMIT = 2.25 * 2**30


def pytest_sessionstart() -> None:
    """Forget the programs of a week ago, most of which no test asks for any more."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        for path in (Path(__file__).parents[1] / ".pytest_cache" / "jax").glob("*"):
            if path.stat().st_mtime < time.time() - 7 * 24 * 3600:
                path.unlink()


@pytest.fixture(autouse=True, scope="session")
def memory_kept() -> list[float]:
    """Bytes that stayed in use when programs were last forgotten, beyond half of the limit."""
    return [0.0]


@pytest.fixture(autouse=True)
def bounded_memory(memory_kept: list[float]) -> Iterator[None]:
    """Forget all compiled programs after a test that leaves too much memory in use."""
    yield
    if sys.platform == "linux" and _memory_in_use() > MEMORY_LIMIT + memory_kept[0]:
        jax.clear_caches()
        gc.collect()
        # The allocator keeps what is freed between arrays that are not, until it is told to.
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)
        memory_kept[0] = max(0.0, _memory_in_use() - MEMORY_LIMIT / 2)


def _memory_in_use() -> int:
    """Bytes of this process that are in memory, on Linux."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def x64() -> Iterator[None]:
    """Run one test in float64; all others run in float32."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> Iterator[np.dtype]:
    """Run one test in float64 and again in float32, and say which of the two it is."""
    with jax.enable_x64(request.param == "float64"):
        yield jnp.dtype(request.param)


@pytest.fixture
def compiled() -> Iterator[list[str]]:
    """One entry for each program that XLA compiles during a test."""
    events, active = [], [True]

    def note(event: str, duration: float, **details: object) -> None:
        if active and event == "/jax/core/compile/backend_compile_duration":
            events.append(str(details))

    jax.monitoring.register_event_duration_secs_listener(note)
    yield events
    active.clear()  # jax has no public way to take a listener away
