"""How a model remembers the call that built it, so that a saved file can repeat the call."""

import functools
import inspect
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np

from flowjax_lite.core import strict_json

Value: TypeAlias = "bool | int | float | str | tuple[Value, ...] | Recipe | None"
Constructor = TypeVar("Constructor", bound=Callable[..., Any])

_CONSTRUCTORS: dict[str, Callable[..., Any]] = {}
_MAX_DEPTH = 32  # calls and lists inside one another; far from Python's limit when they are built


@dataclass(frozen=True)
class Recipe:
    """A call that built a module: hashable, so it can be a static part of the module.

    Attributes:
        name: the registered name of a class or factory.
        arguments: every argument but `rngs`, defaults included, as pairs of name and value.
    """

    name: str
    arguments: "tuple[tuple[str, Value], ...]"

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={_text(value)}' for key, value in self.arguments)})"


class _NotRecordableError(Exception):
    """An argument that text cannot hold, such as a function or an array."""


def remembers_recipe(constructor: Constructor) -> Constructor:
    """Decorate a factory, or the `__init__` of a class, so that what it builds has a `recipe`.

    The recipe is None when an argument cannot be recorded: anything but None, numbers, text,
    modules that have a recipe themselves, and lists and tuples of these, or more than 32 of these
    inside one another.

    Args:
        constructor: an `__init__`, or a function that returns a new module. The name of the
            class or function is what saved files hold: it must be unique and stay the same.

    Returns:
        The same constructor, which also sets `recipe`.

    Raises:
        TypeError: the constructor takes *args, **kwargs or positional-only arguments.
        ValueError: another constructor has the same name.
    """
    if constructor.__name__ == "__init__":
        return _RememberingInit(constructor)  # type: ignore[return-value]
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def factory(*args: Any, **kwargs: Any) -> Any:
        module = constructor(*args, **kwargs)
        module.recipe = _record(constructor.__name__, signature.bind(*args, **kwargs))
        return module

    _register(factory)
    return factory  # type: ignore[return-value]


class _RememberingInit:
    """Stands in the place of an `__init__` until the class around it exists."""

    def __init__(self, original: Callable[..., None]) -> None:
        self.original = original

    def __set_name__(self, owner: Any, name: str) -> None:
        original = self.original
        signature = inspect.signature(original)

        @functools.wraps(original)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            if type(self) is owner:  # a subclass is built by a call of its own
                self.recipe = _record(owner.__name__, signature.bind(self, *args, **kwargs))

        owner.__init__ = __init__
        _register(owner)


def build(recipe: Recipe, rngs: Any) -> Any:
    """Repeat the call that a recipe describes.

    Args:
        recipe: the call.
        rngs: randomness for those constructors that take an argument `rngs`.

    Returns:
        The new module.

    Raises:
        ValueError: no constructor has that name, or it does not take those arguments.
    """
    if recipe.name not in _CONSTRUCTORS:
        raise ValueError(
            f"no constructor is called {recipe.name!r}; expected one of "
            f"{sorted(_CONSTRUCTORS)}: import the module that defines it, or upgrade"
        )
    constructor = _CONSTRUCTORS[recipe.name]
    parameters = _parameters(constructor)
    unknown = [key for key, _ in recipe.arguments if key not in parameters]
    if unknown:
        raise ValueError(
            f"{recipe.name} takes no argument {unknown[0]!r}; expected {list(parameters)}: use "
            f"the version of the library that made the recipe"
        )
    arguments = {key: _build_value(value, rngs) for key, value in recipe.arguments}
    if "rngs" in parameters:
        arguments["rngs"] = rngs
    return constructor(**arguments)


def to_json(recipe: Recipe | None) -> str:
    """Write a recipe, or None, as strict JSON that keeps every float to the last bit."""
    return json.dumps(_encode(recipe), allow_nan=False)


def from_json(text: str) -> Recipe | None:
    """Read what `to_json` wrote; nothing is built.

    Raises:
        ValueError: the text is not a recipe.
    """
    try:
        recipe = _decode(strict_json.loads(text))
        too_deep = _depth(recipe) > _MAX_DEPTH
    except RecursionError:
        too_deep = True
    if too_deep:
        raise ValueError(f"the recipe is nested too deep; expected at most {_MAX_DEPTH} levels")
    if not (recipe is None or isinstance(recipe, Recipe)):
        raise ValueError(f"expected a recipe or null, got {text[:80]!r}")
    return recipe


def total_size(value: Value) -> int:
    """The sum of all whole numbers in a recipe, without their signs.

    A constructor that is traced, so that its arrays have no memory, still takes time and memory
    in proportion to such numbers: dimensions, widths, numbers of layers.
    """
    match value:
        case Recipe():
            return sum(total_size(item) for _, item in value.arguments)
        case tuple():
            return sum(map(total_size, value))
        case int():
            return abs(value)
    return 0


def num_parts(value: Value) -> int:
    """The number of calls in a recipe, and of numbers in its lists.

    Each may be a layer, which takes some milliseconds to trace whatever its size.
    """
    match value:
        case Recipe():
            return 1 + sum(num_parts(item) for _, item in value.arguments if not _is_number(item))
        case tuple():
            return sum(map(num_parts, value))
    return _is_number(value)


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float))


def _register(constructor: Callable[..., Any]) -> None:
    name = constructor.__name__
    for parameter in _parameters(constructor).values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{name} takes {parameter}; a recipe needs arguments with names")
    known = _CONSTRUCTORS.get(name)
    # Defining the same thing again, as a notebook cell does, is no conflict.
    if known is not None and _origin(known) != _origin(constructor):
        raise ValueError(
            f"the recipe name {name!r} belongs to {_origin(known)}; saved files could not tell "
            f"it from {_origin(constructor)}: rename one of them"
        )
    _CONSTRUCTORS[name] = constructor


def _parameters(constructor: Any) -> dict[str, inspect.Parameter]:
    if not isinstance(constructor, type):
        return dict(inspect.signature(constructor).parameters)
    # A metaclass with its own __call__, such as Flax's, hides the arguments of __init__.
    parameters = inspect.signature(constructor.__init__).parameters  # type: ignore[misc]
    return dict(list(parameters.items())[1:])


def _origin(constructor: Callable[..., Any]) -> str:
    return f"{constructor.__module__}.{constructor.__qualname__}"


def _record(name: str, bound: inspect.BoundArguments) -> Recipe | None:
    bound.apply_defaults()
    arguments = {k: v for k, v in bound.arguments.items() if k not in ("self", "rngs")}
    try:
        recipe = Recipe(name, tuple((key, _value(value)) for key, value in arguments.items()))
    except _NotRecordableError:
        return None
    return recipe if _depth(recipe) <= _MAX_DEPTH else None


def _depth(value: Value) -> int:
    """How many recipes and tuples are inside one another."""
    if isinstance(value, Recipe):
        value = tuple(item for _, item in value.arguments)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, tuple) else 0


def _value(value: Any) -> Value:
    recipe = getattr(value, "recipe", None)
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return tuple(_value(item) for item in value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise _NotRecordableError


def _build_value(value: Value, rngs: Any) -> Any:
    if isinstance(value, Recipe):
        return build(value, rngs)
    if isinstance(value, tuple):
        return tuple(_build_value(item, rngs) for item in value)
    return value


def _encode(value: Value) -> Any:
    if isinstance(value, Recipe):
        arguments = {key: _encode(item) for key, item in value.arguments}
        return {"name": value.name, "arguments": arguments}
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}  # JSON has no word for infinity
    return value


def _decode(data: Any) -> Value:
    match data:
        case {"name": str(name), "arguments": dict(arguments)}:
            # Names go into messages as they are.
            wrong = [word for word in (name, *arguments) if not word.isidentifier()]
            if wrong:
                raise ValueError(f"expected a name in Python, got {wrong[0][:80]!r}")
            return Recipe(name, tuple((key, _decode(item)) for key, item in arguments.items()))
        case {"float": str(text)}:
            return float(text)
        case list():
            return tuple(_decode(item) for item in data)
        case dict():
            raise ValueError(f"expected a recipe or a number, got {str(data)[:80]}")
    return data


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        comma = "," if len(value) == 1 else ""
        return f"({', '.join(_text(item) for item in value)}{comma})"
    return str(value) if isinstance(value, Recipe) else repr(value)
