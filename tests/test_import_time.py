"""Importing the package is quick, and brings nothing that only the command line needs."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.smoke

LIMIT_SECONDS = 3.0
LAZY = {
    "diffrax",
    "matplotlib",
    "pandas",
    "pyarrow",
    "sklearn",
    "tensorboardX",
    "tyro",
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
    # The better of two: the first reads the files from disk, and may write bytecode.
    code = f"import time\n{statement}\nprint(time.process_time())"
    seconds = min(float(_run(code)) for _ in range(2))
    assert seconds < LIMIT_SECONDS, f"`{statement}` took {seconds:.1f} s"


def test_import_leaves_optional_packages_alone() -> None:
    """Would catch an optional package, or the command line, imported by the package itself."""
    loaded = set(_run("import sys, flowjax_lite; print(*sys.modules)").split())
    assert not loaded & LAZY, f"`import flowjax_lite` also imports {sorted(loaded & LAZY)}"
