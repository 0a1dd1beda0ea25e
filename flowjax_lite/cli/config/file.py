"""Configs in YAML files, with options of a command line in place of their values."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import flowjax_lite as fl
from flowjax_lite.cli.config import yaml_file
from flowjax_lite.cli.config.flow import FAMILY, FlowConfig, flow_options
from flowjax_lite.cli.config.options import REQUIRED, Option, options_of
from flowjax_lite.cli.config.schema import Config, DataConfig, TrainingConfig
from flowjax_lite.cli.config.yaml_file import Entry
from flowjax_lite.cli.errors import CommandError, FieldError, did_you_mean

# The configs of the repository, which an installed package holds too.
EXAMPLES = Path(fl.__file__).with_name("configs")
SECTIONS: dict[str, Callable[..., Any]] = {
    "data": DataConfig,
    "flow": FlowConfig,
    "training": TrainingConfig,
}
_TOP = {name: option for name, option in options_of(Config).items() if name not in SECTIONS}


def load(path: str | Path, overrides: Mapping[str, Sequence[str]] | None = None) -> Config:
    """Read a config file.

    Args:
        path: The YAML file, or the name of one that the package brings, such as `digits_maf`.
        overrides: Words of a command line in place of values, by keys of `all_options`.

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
    root = yaml_file.read(path)
    for key, words in (overrides or {}).items():
        section, _, name = key.rpartition(".")
        entries = _entries(root, "")
        if section:
            entries = _entries(entries.setdefault(section, Entry({}, "command line")), section)
        entries[name] = all_options()[key].parse(list(words), "command line")
    return _config(root)


def dump(config: Config) -> str:
    """Return YAML text from which `load` builds an equal config."""
    values = dataclasses.asdict(config)
    values["flow"] = {"family": config.flow.family, **config.flow.options}
    return yaml_file.dump(values)


@cache
def all_options() -> dict[str, Option]:
    """Return every option of a config by its key, such as `training.seed`.

    Those of flows are the options of all families; the meaning says which take it, and a default
    that differs between them is left out.
    """
    options = dict(_TOP)
    options |= {f"data.{name}": option for name, option in options_of(DataConfig).items()}
    options["flow.family"] = FAMILY
    families: dict[str, list[str]] = {}
    for family in fl.flows.NAMED:
        for name, option in flow_options(family).items():
            families.setdefault(name, []).append(family)
            first = options.setdefault(f"flow.{name}", option)
            if first.default != option.default:
                options[f"flow.{name}"] = replace(first, default=None)
    for name, members in families.items():
        if len(members) <= len(fl.flows.NAMED) / 2:
            option = options[f"flow.{name}"]
            meaning = f"{option.meaning} For {', '.join(members)}."
            options[f"flow.{name}"] = replace(option, meaning=meaning)
    options |= {f"training.{name}": option for name, option in options_of(TrainingConfig).items()}
    return options


def _config(root: Entry) -> Config:
    """Build the config from the top level of a file."""
    entries = _entries(root, "")
    _check_keys(entries, options_of(Config), "")
    for name in ("data", "flow"):
        if name not in entries:
            raise root.error(f"missing key {name!r}: add it")
    sections = {name: _section(name, entries[name]) for name in SECTIONS if name in entries}
    rest = {name: entry for name, entry in entries.items() if name not in SECTIONS}
    return _build(partial(Config, **sections), _TOP, Entry(rest, root.place), "")


def _section(name: str, entry: Entry) -> Any:
    entries = _entries(entry, name)
    if name != "flow":
        options = options_of(SECTIONS[name])
        _check_keys(entries, options, f"{name}.")
        return _build(SECTIONS[name], options, entry, f"{name}.")
    options = {"family": FAMILY}
    family = entries.get("family", entry).value
    if isinstance(family, str) and family in fl.flows.NAMED:
        options |= flow_options(family)
    # Nothing means the default; earlier versions wrote it for options of other families, too.
    given = {key: each for key, each in entries.items() if each.value is not None}
    return _build(FlowConfig, options, Entry(given, entry.place), "flow.")


def _entries(entry: Entry, key: str) -> dict[str, Entry]:
    """Return the entries of a section."""
    if not isinstance(entry.value, dict):
        raise entry.error(f"{key}: expected a section of keys, got {entry.described}")
    return entry.value


def _check_keys(entries: Mapping[str, Entry], known: Mapping[str, Option], prefix: str) -> None:
    for key, value in entries.items():
        if key not in known:
            where = f"section {prefix[:-1]!r}" if prefix else "the top level"
            hint = did_you_mean(key, known) or f"; {where} takes {', '.join(known)}"
            raise value.error(f"unknown key {prefix + key!r}{hint}")


def _build(
    build: Callable[..., Any], options: Mapping[str, Option], entry: Entry, prefix: str
) -> Any:
    """Build a dataclass from entries, each converted to the type of its option."""
    entries = _entries(entry, prefix)
    for name, option in options.items():
        if option.default is REQUIRED and name not in entries:
            raise entry.error(f"missing key {prefix + name!r}: add it")
    # The dataclass itself refuses what is no option.
    values = {
        key: options[key].value(value, prefix + key) if key in options else value.plain()
        for key, value in entries.items()
    }
    try:
        return build(**values)
    except FieldError as error:
        raise entries.get(error.field, entry).error(f"{prefix}{error}") from None
