"""Imports of optional packages, only when something needs them."""

import importlib
from typing import Any


def import_extra(module: str, extra: str) -> Any:
    """Import a module of a package that is not always installed.

    Args:
        module: dotted name, such as "sklearn.datasets".
        extra: the extra of this package that installs it, such as "data".

    Returns:
        The module.

    Raises:
        ImportError: the package is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this needs {module.split('.')[0]}, which cannot be imported ({error}): "
            f'pip install "flowjax-lite[{extra}]"'
        ) from error
