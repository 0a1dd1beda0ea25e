"""Importing the package is quick, and brings nothing that only some of its users need."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.smoke

# On a slow or busy machine, the share of what jax, flax and optax take there.
LIMIT_SECONDS, LIMIT_SHARE = 0.6, 0.35
LAZY = {
    "diffrax",
    "distrax",
    "matplotlib",
    "numpyro",
    "orbax",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "tensorboardX",
    "tensorflow_probability",
    "flowjax_lite.cli",
}


def _run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    "statement", ["import flowjax_lite", "from flowjax_lite import Flow, bijectors, fit, flows"]
)
def test_import_is_quick(statement: str) -> None:
    """Would catch a heavy import, or arrays computed while a module loads."""
    # Processor time, which on an idle machine is the time one waits; other tests do not count.
    code = (
        "import time\nimport jax, flax.nnx, optax\nbefore = time.process_time()\n"
        f"{statement}\nprint(before, time.process_time() - before)"
    )
    # The best of three: the first reads the files from disk, and may write bytecode.
    runs = [tuple(map(float, _run(code).split())) for _ in range(3)]
    seconds = min(added for _, added in runs)
    limit = max(LIMIT_SECONDS, LIMIT_SHARE * min(before for before, _ in runs))
    assert seconds < limit, f"`{statement}` took {seconds:.2f} s, expected less than {limit:.2f}"


def test_import_leaves_optional_packages_alone() -> None:
    """Would catch an optional package, or the command line, imported by the package itself."""
    loaded = set(_run("import sys, flowjax_lite; print(*sys.modules)").split())
    assert not loaded & LAZY, f"`import flowjax_lite` also imports {sorted(loaded & LAZY)}"
