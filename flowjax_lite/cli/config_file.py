"""Configs in YAML files, with command-line options in place of their values."""

import contextlib
import dataclasses
import io
import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import flowjax_lite
from flowjax_lite.cli import yaml_file
from flowjax_lite.cli.config import Config
from flowjax_lite.cli.errors import CommandError, FieldError, did_you_mean
from flowjax_lite.cli.yaml_file import Entry

T = TypeVar("T")

# The configs of the repository, which an installed package holds too.
EXAMPLES = Path(flowjax_lite.__file__).with_name("configs")


def load(path: str | Path) -> Config:
    """Read a config file.

    Args:
        path: The YAML file, or the name of one that the package brings, such as `digits_maf`.

    Returns:
        The config.

    Raises:
        CommandError: The file cannot be read, or a key is unknown, duplicate, missing or holds a
            value of the wrong type or range. The message names file, line and key.
    """
    path = Path(path)
    if path.name == str(path) and not path.suffix and not path.exists():
        example = EXAMPLES / f"{path}.yaml"
        if not example.exists():
            names = ", ".join(sorted(each.stem for each in EXAMPLES.glob("*.yaml")))
            raise CommandError(
                f"{path}: no such file; expected a YAML file, or an example of the package: {names}"
            )
        path = example
    return _dataclass(Config, yaml_file.read(path), prefix="")


def override(config: Config, arguments: Sequence[str]) -> Config:
    """Replace fields by command-line arguments such as `--training.learning-rate 1e-4`.

    Args:
        config: The config to start from.
        arguments: The arguments.

    Returns:
        The new config.

    Raises:
        CommandError: An argument is unknown or its value does not fit.
    """
    if not arguments:
        return config
    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            return tyro.cli(Config, default=config, args=arguments, add_help=False)
    except SystemExit:
        raise CommandError(_message(said.getvalue())) from None


def dump(config: Config) -> str:
    """Return YAML text from which `load` builds an equal config."""
    return yaml_file.dump(dataclasses.asdict(config))


def keys() -> list[str]:
    """Return every key of a config as a command-line option with its type."""
    hints = {}
    for field, hint in typing.get_type_hints(Config).items():
        section = typing.get_type_hints(hint) if dataclasses.is_dataclass(hint) else {}
        hints.update({f"{field}.{key}": each for key, each in section.items()} or {field: hint})
    options = {f"--{key.replace('_', '-')}": _expected(hint) for key, hint in hints.items()}
    width = max(map(len, options))
    return [f"{option.ljust(width)}  {expected}" for option, expected in options.items()]


def _dataclass(cls: type[T], entry: Entry, *, prefix: str) -> T:
    """Build a dataclass from a mapping; `prefix` is the key of the mapping, with a dot."""
    if not isinstance(entry.value, dict):
        raise entry.error(f"{prefix.rstrip('.')}: expected a section of keys, got {_got(entry)}")
    hints = typing.get_type_hints(cls)
    for key, value in entry.value.items():
        if key not in hints:
            where = f"section {prefix.rstrip('.')!r}" if prefix else "the top level"
            hint = did_you_mean(key, hints) or f"; {where} takes {', '.join(hints)}"
            raise value.error(f"unknown key {prefix + key!r}{hint}")
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        required = field.default is dataclasses.MISSING
        if required and field.name not in entry.value:
            raise entry.error(f"missing key {prefix + field.name!r}: add it")
    values = {
        key: _convert(value, hints[key], key=prefix + key) for key, value in entry.value.items()
    }
    try:
        return cls(**values)
    except FieldError as error:
        place = entry.value.get(error.field, entry)
        raise place.error(f"{prefix}{error}") from None


def _convert(entry: Entry, hint: Any, *, key: str) -> Any:
    """Return the value of an entry as the type of a field, or raise an error with its place."""
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast(type, hint), entry, prefix=f"{key}.")
    choices = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for choice in choices:
        if typing.get_origin(choice) is tuple and isinstance(entry.value, tuple):
            item = typing.get_args(choice)[0]
            return tuple(_convert(each, item, key=key) for each in entry.value)
        if choice is float and type(entry.value) is int:
            return float(entry.value)
        if type(entry.value) is choice:
            return entry.value
    quotes = ": put it in quotes" if str in choices and type(entry.value) in (int, float) else ""
    raise entry.error(f"{key}: expected {_expected(hint)}, got {_got(entry)}{quotes}")


def _expected(hint: Any) -> str:
    """Return a type in words."""
    if isinstance(hint, types.UnionType):
        choices = [choice for choice in typing.get_args(hint) if choice is not types.NoneType]
        return " or ".join(map(_expected, choices))
    if typing.get_origin(hint) is tuple:
        return {int: "a list such as [64, 64]", str: "a list such as [a, b]"}[
            typing.get_args(hint)[0]
        ]
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[hint]


def _got(entry: Entry) -> str:
    """Return a value and its kind in words."""
    value = entry.plain()
    if isinstance(value, dict):
        return "a section of keys"
    if isinstance(value, tuple):
        return f"the list {list(value)}"
    kinds = {bool: "a truth value", int: "a whole number", float: "a number", str: "text"}
    return "nothing" if value is None else f"{value!r} ({kinds[type(value)]})"


def _message(said: str) -> str:
    """Return what tyro says, without the frame: a title, a message, and perhaps a suggestion."""
    parts = [" ".join(part.split()) for part in re.split(r"\n\W*[-─]{5,}\W*\n", said)]
    if len(parts) == 1:
        return parts[0]
    suggestions = [part for part in parts[2:] if part.startswith("Perhaps")]
    return ". ".join([parts[1], *suggestions])
