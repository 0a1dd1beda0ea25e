"""Reading JSON from files that anybody may have written."""

import json
from typing import Any, NoReturn


def loads(text: str | bytes) -> Any:
    """Read JSON in which no key is given twice and every number is finite or too large.

    Raises:
        ValueError: the text is not such JSON.
        RecursionError: it is nested too deeply for Python.
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique: dict[str, Any] = {}
    for key, value in pairs:
        if key in unique:
            raise ValueError(f"the key {key[:80]!r} is given twice; expected each key once")
        unique[key] = value
    return unique


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON; expected a finite number")
