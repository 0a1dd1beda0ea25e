"""Strict YAML: keys keep their line numbers, and nothing is converted behind the user's back.

Plain (unquoted) scalars mean what they look like: `true` and `false` are booleans, `1e-3` is
a float, `null` and `~` are nothing, `no` and `off` are text. A leading zero, as in `010`,
is rejected, because YAML 1.1 reads it as 8 and YAML 1.2 as 10. Duplicate keys, tags, anchors and
aliases are errors, and so are files and nesting beyond what a config needs.
"""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_SPECIAL = {"null": None, "~": None, "": None, "true": True, "false": False}
_MAX_BYTES = 2**20
_MAX_DEPTH = 4


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a YAML file whose top level is a mapping.

    Args:
        path: The file.

    Returns:
        The values, with tuples for lists; and for each key, such as `training.seed`, where it
        stands: `file:line`. The key of the top level is empty.

    Raises:
        ValueError: The file cannot be read, is larger than a MiB, is not YAML, or holds a
            duplicate key, a tag, an anchor, a control character, a number with a leading zero or
            one beyond 64 bits. The message names file and line.
    """
    places: dict[str, str] = {}
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise OSError(f"it is larger than {_MAX_BYTES} bytes: not a config")
        node = yaml.compose(content.decode(), Loader=_Loader)
        values = None if node is None else _value(node, "", str(path), places)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as text: {error}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        kind = "" if isinstance(error, _RefusedError) else "not valid YAML: "
        raise ValueError(f"{path}:{line}: {kind}{error.problem}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # The last two: "\UFFFFFFFF".
        raise ValueError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected lines such as 'key: value' at the top level")
    return values, places


def dump(values: Mapping[str, Any]) -> str:
    """Return YAML text that `read` turns back into exactly these values."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def resolve(text: str) -> bool | int | float | str | None:
    """Return the value of a plain scalar.

    Raises:
        ValueError: The text is a number with a leading zero, or a whole one beyond 64 bits.
    """
    if text in _SPECIAL:
        return _SPECIAL[text]
    if _INT.fullmatch(text):
        if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
            raise ValueError(f"{text[:30]} is beyond 64 bits: write a smaller number")
        return int(text)
    if _LEADING_ZERO.fullmatch(text):
        short = re.sub("0+(?=[0-9])", "", text, count=1)
        raise ValueError(f"{text} has a leading zero: write {short}, or '{text}' for text")
    return float(text) if _FLOAT.fullmatch(text) else text


class _RefusedError(yaml.MarkedYAMLError):
    """Valid YAML that no config needs."""

    def __init__(self, problem: str, node: Any):
        super().__init__(problem=problem, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    """Leaves every scalar as text, so that this module alone decides what it means."""

    depth = -1  # of the mapping at the top it is 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if event.anchor is not None:  # A few aliases of aliases would fill the memory.
            problem = "anchors and aliases are not supported: write the value again"
            raise _RefusedError(problem, event)
        if getattr(event, "tag", None) is not None:
            raise _RefusedError(f"the tag {event.tag!r} is not supported: remove it", event)
        if self.depth == _MAX_DEPTH:
            raise _RefusedError(f"nested more than {_MAX_DEPTH} levels deep", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {}


def _value(node: Any, key: str, file: str, places: dict[str, str]) -> Any:
    """Return what a node holds, and write down where it and the keys within it stand."""
    places.setdefault(key, f"{file}:{node.start_mark.line + 1}")
    if isinstance(node, yaml.SequenceNode):
        return tuple(_value(item, key, file, places) for item in node.value)
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        for name_node, value_node in node.value:
            name = _value(name_node, key, file, places)
            if not isinstance(name, str):
                raise _RefusedError(f"expected a name as the key, got {name!r}", name_node)
            inner = f"{key}.{name}" if key else name
            if name in values:
                first = places[inner].rpartition(":")[2]
                problem = f"duplicate key {name!r}, first given on line {first}: remove one"
                raise _RefusedError(problem, name_node)
            # The key's own line: an error of a value on a later line still points at its name.
            places[inner] = f"{file}:{name_node.start_mark.line + 1}"
            values[name] = _value(value_node, inner, file, places)
        return values
    # Escapes can write what the file itself may not hold, such as a terminal's control sequences.
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\r\n" for c in node.value):
        raise _RefusedError(f"{node.value!r} holds a control character: remove it", node)
    if node.style is not None:  # Quoted: text, whatever it looks like.
        return node.value
    try:
        return resolve(node.value)
    except ValueError as error:
        raise _RefusedError(str(error), node) from None


class _Dumper(yaml.SafeDumper):
    """Quotes the words that `resolve` would take for something else."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    try:
        quote = resolve(text) != text
    except ValueError:
        quote = True
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if quote else None)


def _represent_list(dumper: yaml.SafeDumper, items: Any) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(tuple, _represent_list)
_Dumper.add_representer(list, _represent_list)
