"""The version of the library, for the files that it writes."""

from importlib.metadata import PackageNotFoundError, version


def library_version() -> str:
    """The installed version; "unknown" where it runs from a checkout, without an installation."""
    try:
        return version("flowjax-lite")
    except PackageNotFoundError:
        return "unknown"
