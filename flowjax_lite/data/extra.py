"""Imports of optional packages, only when a function needs them."""

import importlib
from typing import Any


def import_extra(module: str) -> Any:
    """Import a module of the `data` extra.

    Args:
        module: Dotted name, such as `"sklearn.datasets"`.

    Returns:
        The module.

    Raises:
        ImportError: The package is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module} cannot be imported ({error}). Install it with: "
            'pip install "flowjax-lite[data]"'
        ) from error
