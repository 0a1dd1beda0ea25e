"""The options of a section: types, choices, defaults and meanings, as a signature says them.

A dataclass and the factory of a flow are read alike, so that a flow's options are written down
once, where the flow is built.
"""

import inspect
import re
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from flowjax_lite.cli.config.yaml_file import Entry, resolve
from flowjax_lite.cli.errors import FieldError, did_you_mean

REQUIRED = inspect.Parameter.empty
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


@dataclass(frozen=True)
class Option:
    """One option of a section.

    Args:
        name: Its name.
        kinds: The types of its values, such as `(int, NoneType)`; a list is `tuple[int, ...]`.
        choices: The only values, if they are few.
        default: Its default, `REQUIRED` where there is none.
        meaning: What it does, in words.
    """

    name: str
    kinds: tuple[Any, ...]
    choices: Collection[str] | None
    default: Any
    meaning: str

    @property
    def is_list(self) -> bool:
        """Whether its value is a list."""
        return any(get_origin(kind) is tuple for kind in self.kinds)

    @property
    def expected(self) -> str:
        """Its type in words, such as `a number`."""
        if self.choices is not None:
            return f"one of {', '.join(self.choices)}"
        return " or ".join(_in_words(kind) for kind in self.kinds if kind is not types.NoneType)

    @property
    def item(self) -> Any:
        """The type of its value, or of each value of a list."""
        kind = self.kinds[0]
        return _kinds(get_args(kind)[0])[0][0] if self.is_list else kind

    def value(self, entry: Entry, key: str) -> Any:
        """Return the value of an entry, of the right type.

        Args:
            entry: The entry.
            key: The whole key, for errors.

        Raises:
            CommandError: The entry is of another type.
        """
        for kind in self.kinds:
            if get_origin(kind) is tuple and isinstance(entry.value, tuple):
                item = Option(self.name, get_args(kind)[:1], None, REQUIRED, "")
                return tuple(item.value(each, key) for each in entry.value)
            if kind is float and type(entry.value) is int:
                return float(entry.value)
            if type(entry.value) is kind:
                return entry.value
        quotes = str in self.kinds and type(entry.value) in (int, float)
        raise entry.error(
            f"{key}: expected {self.expected}, got {entry.described}{': put it in quotes' * quotes}"
        )

    def parse(self, words: list[str], place: str) -> Entry:
        """Return the entry that words of a command line mean.

        Raises:
            CommandError: A word is no value, such as 010.
        """
        if not words:  # a bare option
            return Entry(True, place)
        if self.is_list:
            return Entry(tuple(self._parse_word(word, place) for word in words), place)
        return self._parse_word(words[0], place)

    def _parse_word(self, word: str, place: str) -> Entry:
        text = str in self.kinds or tuple[str, ...] in self.kinds
        try:
            value = resolve(word)
        except ValueError as error:
            value = word
            if not text:
                raise Entry(None, place).error(str(error)) from None
        nothing = value is None and types.NoneType in self.kinds
        return Entry(word if text and not nothing else value, place)

    def check(self, value: Any) -> None:
        """Raise a `FieldError` unless the value is one of the choices, where there are any."""
        if self.choices is not None and value is not None and value not in self.choices:
            hint = did_you_mean(str(value), self.choices)
            known = ", ".join(self.choices)
            raise FieldError(self.name, f"unknown {self.name} {value!r}{hint}; known: {known}")


def check_choices(config: Any) -> None:
    """Raise a `FieldError` where a field of a dataclass holds none of its choices."""
    for name, option in options_of(type(config)).items():
        option.check(getattr(config, name))


def require(config: Any, field: str, holds: bool, expected: str) -> None:
    """Raise a `FieldError` that says what was expected, unless the condition holds."""
    if not holds:
        value = getattr(config, field)
        got = list(value) if isinstance(value, tuple) else value
        raise FieldError(field, f"expected {expected}, got {got!r}")


def options_of(
    callee: Callable[..., Any], choices: Mapping[str, Collection[str]] | None = None
) -> dict[str, Option]:
    """Return the options that a dataclass or a factory takes, by name.

    Args:
        callee: The dataclass or the factory.
        choices: The choices of options whose types do not tell them.
    """
    meanings = _meanings(callee)
    options = {}
    for name, parameter in inspect.signature(callee, eval_str=True).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        kinds, known = _kinds(parameter.annotation)
        known = (choices or {}).get(name, known)
        default, meaning = parameter.default, meanings.get(name, "")
        options[name] = Option(name, (str,) if known else kinds, known, default, meaning)
        if known and types.NoneType in kinds:
            options[name] = Option(name, (str, types.NoneType), known, default, meaning)
    return options


def _kinds(annotation: Any) -> tuple[tuple[Any, ...], Collection[str] | None]:
    """Return the types of an annotation, and the choices that it holds."""
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[:1], get_args(annotation)[1]
    if get_origin(annotation) is Literal:
        return (str,), get_args(annotation)
    if get_origin(annotation) in (types.UnionType, Union):
        members = [_kinds(member) for member in get_args(annotation)]
        known = [choices for _, choices in members if choices is not None]
        return tuple(kind for kinds, _ in members for kind in kinds), known[0] if known else None
    return (annotation,), None


def _meanings(documented: Any) -> dict[str, str]:
    """Return the descriptions of arguments in a docstring, each on one line."""
    text = inspect.getdoc(documented) or ""
    arguments = re.search(r"^Args:\n((?: .*\n|\n(?= ))*)", text + "\n", re.MULTILINE)
    listed = arguments[1] if arguments else ""
    described = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", listed, re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in described}


def _in_words(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "a list such as [64, 64]" if get_args(kind)[0] is int else "a list such as [a, b]"
    return _WORDS.get(kind, "text")
