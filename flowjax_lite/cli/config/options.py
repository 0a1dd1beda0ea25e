"""The options of a function: types, choices, defaults and meanings, as its signature says them.

Sections of a config and commands of the command line are read alike, so that an option is written
down once, where the function is that takes it.
"""

import inspect
import re
import types
from argparse import ArgumentTypeError
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from flowjax_lite.cli.config.yaml_file import resolve
from flowjax_lite.core.checks import suggest

REQUIRED = inspect.Parameter.empty
_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a section of keys",
    str: "text",
}


class OptionError(ValueError):
    """A value that an option cannot take.

    Args:
        key: The whole key of the option, such as `training.seed`.
        message: What was expected and what came.
    """

    def __init__(self, key: str, message: str):
        super().__init__(message)
        self.key = key


@dataclass(frozen=True)
class Option:
    """One option of a function, as far as a config or a command line can say it.

    Args:
        name: Its name.
        kinds: The types of its value, or of each item of a list: int, float, bool, dict or str.
        meaning: What it does, in words.
        default: Its default, `REQUIRED` where there is none.
        choices: The only values, if they are few.
        is_list: Whether its value is a list.
        takes_none: Whether its value may be None.
    """

    name: str
    kinds: tuple[type, ...]
    meaning: str
    default: Any = None
    choices: Collection[str] = ()
    is_list: bool = False
    takes_none: bool = True

    @property
    def help(self) -> str:
        """The meaning, the choices and the default."""
        words, default = [self.meaning], self.default
        if self.choices:
            words.append(f"One of {', '.join(self.choices)}.")
        if default is not None and default is not False and default is not REQUIRED:
            text = ", ".join(map(str, default)) if isinstance(default, tuple) else default
            words.append(f"Default: {text}.")
        return " ".join(words)

    @property
    def metavar(self) -> str:
        """What stands for a value in a usage text."""
        words = {int: "INT", float: "FLOAT", bool: "BOOL"}
        return "CHOICE" if self.choices else words.get(self.kinds[0], "TEXT")

    def read(self, word: str) -> Any:
        """Return what a word of a command line means."""
        if str in self.kinds:
            return None if self.takes_none and word in ("null", "~", "") else word
        try:
            return resolve(word)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from None

    def check(self, value: Any, key: str) -> Any:
        """Return a value of a file, of the right type.

        Args:
            value: The value.
            key: The whole key, for errors.

        Raises:
            OptionError: The value is of another type, or none of the choices.
        """
        if value is None and self.takes_none:
            return None
        if not self.is_list:
            return self._check_item(value, key)
        if not isinstance(value, tuple | list):
            example = "[64, 64]" if int in self.kinds else "[a, b]"
            raise wrong(key, f"a list such as {example}", value)
        return tuple(self._check_item(item, key) for item in value)

    def _check_item(self, value: Any, key: str) -> Any:
        if type(value) is int and int not in self.kinds and float in self.kinds:
            return float(value)
        if type(value) not in self.kinds:
            expected = " or ".join(_WORDS[kind] for kind in self.kinds)
            quotes = " in quotes" if str in self.kinds and type(value) in (int, float) else ""
            raise wrong(key, expected + quotes, value)
        if self.choices and value not in self.choices:
            hint = suggest(value, list(self.choices))
            known = ", ".join(self.choices)
            raise OptionError(key, f"{key}: unknown {self.name} {value!r}.{hint} Known: {known}")
        return value


def wrong(key: str, expected: str, value: Any) -> OptionError:
    """Return an error that says what was expected and what came."""
    got = repr(list(value) if isinstance(value, tuple) else value)
    got = "nothing" if value is None else got
    return OptionError(key, f"{key}: expected {expected}, got {got}")


def check_values(
    given: Mapping[str, Any], options: Mapping[str, Option], section: str = ""
) -> dict[str, Any]:
    """Check the values of a section of a file.

    Args:
        given: The values by name.
        options: What there may be.
        section: The name of the section; empty for the top level.

    Returns:
        The values, of the right types.

    Raises:
        OptionError: A key is unknown or missing, or holds what it cannot take.
    """
    prefix = f"{section}." if section else ""
    for name in given:
        if name not in options:
            hint, taker = suggest(name, list(options)), given.get("family", section or "a config")
            known = f"Keys of {taker}: {', '.join(options)}"
            raise OptionError(prefix + name, f"unknown key {prefix + name!r}.{hint} {known}")
    for name, option in options.items():
        if option.default is REQUIRED and name not in given:
            raise OptionError(prefix + name, f"missing key {prefix + name!r}: add it")
    return {name: options[name].check(value, prefix + name) for name, value in given.items()}


def options_of(
    function: Callable[..., Any], choices: Mapping[str, Collection[str]] | None = None
) -> dict[str, Option]:
    """Return the options that a function takes, by name.

    Args:
        function: The function, or a dataclass.
        choices: The choices of options whose types do not tell them.
    """
    meanings = _meanings(function)
    options = {}
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        members = list(_members(parameter.annotation))
        lists = [member for member in members if get_origin(member) in (tuple, Sequence)]
        words = [word for each in members if get_origin(each) is Literal for word in get_args(each)]
        items = [item for each in lists for item in _members(get_args(each)[0])] or members
        options[name] = Option(
            name,
            tuple(dict.fromkeys(_kind(item) for item in items if item is not type(None))),
            meanings.get(name, ""),
            parameter.default,
            (choices or {}).get(name, words),
            is_list=bool(lists),
            takes_none=type(None) in members,
        )
    return options


def _members(annotation: Any) -> Iterator[Any]:
    """Yield the types of a union, or the one type that it is."""
    if get_origin(annotation) in (types.UnionType, Union):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _kind(annotation: Any) -> type:
    """Return the type that a file has for it; what is no number is given by its name."""
    if get_origin(annotation) is Mapping:
        return dict
    return annotation if annotation in (int, float, bool) else str


def _meanings(documented: Any) -> dict[str, str]:
    """Return the descriptions of arguments in a docstring, each on one line."""
    text = inspect.getdoc(documented) or ""
    section = re.search(r"^(?:Args|Attributes):\n((?: .*\n|\n(?= ))*)", text + "\n", re.MULTILINE)
    listed = section[1] if section else ""
    described = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", listed, re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in described}
