"""Strict YAML: values keep their line numbers, and nothing is converted behind the user's back.

Plain (unquoted) scalars mean what they look like: `true` and `false` are booleans, `1e-3` is
a float, `null` and `~` are nothing, `no` and `off` are text. A leading zero, as in `010`,
is rejected, because YAML 1.1 reads it as 8 and YAML 1.2 as 10. Duplicate keys, tags, anchors and
aliases are errors, and so are files and nesting beyond what a config needs.
"""

import re
import unicodedata
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
_MAX_BYTES = 2**20
_MAX_DEPTH = 4
_TEXT_TAG = "tag:yaml.org,2002:str"


@dataclass(frozen=True)
class Entry:
    """A value of a YAML file: a scalar, a tuple of entries or a mapping of entries."""

    value: "Scalar | tuple[Entry, ...] | dict[str, Entry]"
    place: str  # `file:line`, or the option of a command line

    def error(self, message: str) -> CommandError:
        """Return an error that starts with the place of this entry."""
        return CommandError(f"{self.place}: {message}")

    @property
    def described(self) -> str:
        """Return the value and its kind in words."""
        value = self.plain()
        if isinstance(value, dict):
            return "a section of keys"
        if isinstance(value, tuple):
            return f"the list {list(value)}"
        kinds = {bool: "a truth value", int: "a whole number", float: "a number", str: "text"}
        return "nothing" if value is None else f"{value!r} ({kinds[type(value)]})"

    def plain(self) -> Any:
        """Return the value without line numbers."""
        if isinstance(self.value, dict):
            return {key: entry.plain() for key, entry in self.value.items()}
        if isinstance(self.value, tuple):
            return tuple(entry.plain() for entry in self.value)
        return self.value


class _Loader(yaml.SafeLoader):
    """Leaves every scalar as text, so that this module alone decides what it means."""

    depth = -1  # of the mapping at the top it is 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        problem = ""
        if event.anchor is not None:  # A few aliases of aliases would fill the memory.
            problem = "anchors and aliases are not supported: write the value again"
        elif getattr(event, "tag", None) is not None:
            problem = f"the tag {event.tag!r} is not supported: remove it"
        elif self.depth == _MAX_DEPTH:
            problem = f"nested more than {_MAX_DEPTH} levels deep"
        if problem:
            raise _RefusedError(problem=problem, problem_mark=event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _RefusedError(yaml.MarkedYAMLError):
    """Valid YAML that no config needs."""


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
        CommandError: The file cannot be read, is larger than a MiB, is not YAML, or holds a
            duplicate key, a tag, an anchor, a control character, a number with a leading zero or
            one beyond 64 bits. The message names file and line.
    """
    name = str(path)
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise CommandError(f"{name}: is larger than {_MAX_BYTES} bytes: not a config")
        text = content.decode()
    except FileNotFoundError:
        raise CommandError(f"{name}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{name}: cannot be read as text: {error}") from None
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        kind = "" if isinstance(error, _RefusedError) else "not valid YAML: "
        raise CommandError(f"{name}:{line}: {kind}{error.problem}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # The last two: "\UFFFFFFFF".
        raise CommandError(f"{name}: not valid YAML: {error}") from None
    if not isinstance(node, yaml.MappingNode):
        raise CommandError(f"{name}: expected lines such as 'key: value' at the top level")
    return _entry(node, name)


def dump(values: Mapping[str, Any]) -> str:
    """Return YAML text that `read` turns back into exactly these values."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def resolve(text: str) -> Scalar:
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
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _entry(node: yaml.Node, file: str) -> Entry:
    place = f"{file}:{node.start_mark.line + 1}"
    here = Entry(None, place)
    if isinstance(node, yaml.MappingNode):
        return Entry(_mapping(node, file), place)
    if isinstance(node, yaml.SequenceNode):
        return Entry(tuple(_entry(item, file) for item in node.value), place)
    assert isinstance(node, yaml.ScalarNode)
    # Escapes can write what the file itself may not hold, such as a terminal's control sequences.
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\r\n" for c in node.value):
        raise here.error(f"{node.value!r} holds a control character: remove it")
    if node.style is not None:  # Quoted: text, whatever it looks like.
        return Entry(node.value, place)
    try:
        return Entry(resolve(node.value), place)
    except ValueError as error:
        raise here.error(str(error)) from None


def _mapping(node: yaml.MappingNode, file: str) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for key_node, value_node in node.value:
        key = _entry(key_node, file)
        if not isinstance(key.value, str):
            raise key.error(f"expected a name as the key, got {key.plain()!r}")
        if key.value in entries:
            first = entries[key.value].place.rpartition(":")[2]
            raise key.error(f"duplicate key {key.value!r}, first given on line {first}: remove one")
        # The key's own line, so that errors about a value on a later line still point at its name.
        entries[key.value] = Entry(_entry(value_node, file).value, key.place)
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
