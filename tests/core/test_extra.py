import pytest

from flowjax_lite.core.extra import import_extra


def test_a_missing_package_names_the_extra() -> None:
    """Would catch a bare ModuleNotFoundError that leaves the user to guess what to install."""
    with pytest.raises(ImportError, match=r'no_such_package, .*pip install "flowjax-lite\[plot\]"'):
        import_extra("no_such_package.inside", "plot")


def test_a_present_module_is_returned() -> None:
    """Would catch the parent package being returned for a dotted name."""
    assert import_extra("os.path", "data").join("a", "b") == "a/b"
