"""The room itself: adapters that derive from another library's classes come when asked for."""

import subprocess
import sys

import pytest

from flowjax_lite import interop


def test_a_missing_library_is_named_when_its_adapter_is_asked_for() -> None:
    """Would catch a failing `import flowjax_lite`, or an error that does not say what it needs."""
    code = (
        "import sys\n"
        "sys.modules['distrax'] = None\n"  # as if it were not installed
        "import flowjax_lite as fl\n"
        "assert 'ToDistrax' in dir(fl.interop)\n"
        "try:\n    fl.interop.ToDistrax\n"
        "except ImportError as error:\n    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs distrax" in result.stdout and '"flowjax-lite[interop]"' in result.stdout


def test_an_unknown_name_is_no_adapter() -> None:
    """Would catch `hasattr` that is true for everything."""
    with pytest.raises(AttributeError, match="ToNothing"):
        interop.ToNothing  # noqa: B018
