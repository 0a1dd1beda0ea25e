"""Strict YAML: values keep their line numbers, and nothing is converted behind the user's back.

Plain (unquoted) scalars mean what they look like: `true` and `false` are booleans, `1e-3` is
a float, `null` and `~` are nothing, `no` and `off` are text. A leading zero, as in `010`,
is rejected, because YAML 1.1 reads it as 8 and YAML 1.2 as 10. Duplicate keys and tags are errors.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flowjax_lite.cli.errors import CommandError

Scalar = None | bool | int | float | str

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_SPECIAL = {"null": None, "~": None, "": None, "true": True, "false": False}
_MAX_DEPTH = 4
_TEXT_TAG = "tag:yaml.org,2002:str"


@dataclass(frozen=True)
class Entry:
    """A value of a YAML file: a scalar, a tuple of entries or a mapping of entries."""

    value: "Scalar | tuple[Entry, ...] | dict[str, Entry]"
    file: str
    line: int

    @property
    def place(self) -> str:
        """Return `file:line`."""
        return f"{self.file}:{self.line}"

    def error(self, message: str) -> CommandError:
        """Return an error that starts with the place of this entry."""
        return CommandError(f"{self.place}: {message}")

    def plain(self) -> Any:
        """Return the value without line numbers."""
        if isinstance(self.value, dict):
            return {key: entry.plain() for key, entry in self.value.items()}
        if isinstance(self.value, tuple):
            return tuple(entry.plain() for entry in self.value)
        return self.value


class _Loader(yaml.SafeLoader):
    """Leaves every scalar as text, so that this module alone decides what it means."""


_Loader.yaml_implicit_resolvers = {}


class _Dumper(yaml.SafeDumper):
    """Quotes exactly the strings that would be read back as something else."""


def read(path: str | Path) -> Entry:
    """Read a YAML file whose top level is a mapping.

    Args:
        path: The file.

    Returns:
        The top-level mapping with the place of every value.

    Raises:
        CommandError: The file cannot be read, is not YAML, or holds a duplicate key, a tag or a
            number with a leading zero. The message names file and line.
    """
    name = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CommandError(f"{name}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{name}: cannot be read as text: {error}") from None
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise CommandError(f"{name}:{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise CommandError(f"{name}: not valid YAML: {error}") from None
    if not isinstance(node, yaml.MappingNode):
        raise CommandError(f"{name}: expected lines such as 'key: value' at the top level")
    return _entry(node, name, depth=0)


def dump(values: Mapping[str, Any]) -> str:
    """Return YAML text that `read` turns back into exactly these values."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def resolve(text: str) -> Scalar:
    """Return the value of a plain scalar.

    Raises:
        ValueError: The text is a number with a leading zero.
    """
    if text in _SPECIAL:
        return _SPECIAL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _LEADING_ZERO.fullmatch(text):
        raise ValueError(f"{text} has a leading zero: write {int(text)}, or '{text}' for text")
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _entry(node: yaml.Node, file: str, *, depth: int) -> Entry:
    here = Entry(None, file, node.start_mark.line + 1)
    if depth > _MAX_DEPTH:  # Also ends an alias that contains itself.
        raise here.error(f"nested more than {_MAX_DEPTH} levels deep")
    if node.tag not in (_TEXT_TAG, "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"):
        raise here.error(f"the tag {node.tag!r} is not supported: remove it")
    if isinstance(node, yaml.MappingNode):
        return Entry(_mapping(node, file, depth=depth), file, here.line)
    if isinstance(node, yaml.SequenceNode):
        items = tuple(_entry(item, file, depth=depth + 1) for item in node.value)
        return Entry(items, file, here.line)
    assert isinstance(node, yaml.ScalarNode)
    if node.style is not None:  # Quoted: text, whatever it looks like.
        return Entry(node.value, file, here.line)
    try:
        return Entry(resolve(node.value), file, here.line)
    except ValueError as error:
        raise here.error(str(error)) from None


def _mapping(node: yaml.MappingNode, file: str, *, depth: int) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for key_node, value_node in node.value:
        key = _entry(key_node, file, depth=depth + 1)
        if not isinstance(key.value, str):
            raise key.error(f"expected a name as the key, got {key.plain()!r}")
        if key.value in entries:
            first = entries[key.value].line
            raise key.error(f"duplicate key {key.value!r}, first given on line {first}: remove one")
        # The key's own line, so that errors about a value on a later line still point at its name.
        entry = _entry(value_node, file, depth=depth + 1)
        entries[key.value] = Entry(entry.value, file, key.line)
    return entries


def _plain_text(value: Scalar) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _represent_plain(dumper: yaml.SafeDumper, value: Scalar) -> yaml.ScalarNode:
    # Without implicit resolvers the dumper knows one kind of plain scalar, the one tagged `str`.
    return dumper.represent_scalar(_TEXT_TAG, _plain_text(value))


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    try:
        quote = not isinstance(resolve(text), str)
    except ValueError:
        quote = True
    return dumper.represent_scalar(_TEXT_TAG, text, style="'" if quote else None)


def _represent_sequence(dumper: yaml.SafeDumper, items: Any) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)


_Dumper.yaml_implicit_resolvers = {}
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(tuple, _represent_sequence)
_Dumper.add_representer(list, _represent_sequence)
for _type in (type(None), bool, int, float):
    _Dumper.add_representer(_type, _represent_plain)
