"""How a model remembers the call that built it, so that a saved file can repeat the call."""

import copy
import dataclasses
import functools
import inspect
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flowjax_lite.core import strict_json
from flowjax_lite.core.checks import check_rngs

Value: TypeAlias = (
    "bool | int | float | str | tuple[Value, ...] | Recipe | ArrayOf | Function | Maker"
    " | Unrecorded | None"
)
Factory = TypeVar("Factory", bound=Callable[..., Any])

_CONSTRUCTORS: dict[str, Callable[..., Any]] = {}
_FUNCTIONS: list[Mapping[str, Callable[..., Any]]] = []
_MAX_DEPTH = 32  # calls and lists inside one another; far from Python's limit when they are built


@dataclass(frozen=True)
class Recipe:
    """A call that built an object: hashable, so it can be a static part of a module.

    Attributes:
        name: the registered name of a class or factory.
        arguments: every argument but `rngs`, defaults included, as pairs of name and value.
    """

    name: str
    arguments: "tuple[tuple[str, Value], ...]"

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={_text(value)}' for key, value in self.arguments)})"


@dataclass(frozen=True)
class ArrayOf:
    """An array among the arguments, without its numbers: they are in the module's own arrays."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


@dataclass(frozen=True)
class Function:
    """A function by the name that `register_functions` has for it."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Maker:
    """A function from `rngs` to a module, by the call that builds the module."""

    recipe: Recipe

    def __str__(self) -> str:
        return f"lambda rngs: {self.recipe}"


@dataclass(frozen=True)
class Unrecorded:
    """An argument that no file can hold, in words."""

    what: str

    def __str__(self) -> str:
        return f"<{self.what}>"


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        comma = "," if len(value) == 1 else ""
        return f"({', '.join(_text(item) for item in value)}{comma})"
    return repr(value) if isinstance(value, (str, float, int)) or value is None else str(value)


class Recorded:
    """A base of abstract classes: all that derive from them remember how they were built.

    `recipe` holds the call of the constructor. Arguments are recorded as they are if they are
    None, numbers, text, registered functions, other recorded objects, or lists and tuples of
    these. Arrays are recorded by shape and dtype, and so is every argument whose annotation names
    `jax.Array` or `numpy.ndarray`: recipes are static, and equal for objects of other numbers. A
    recipe is repeated under `jax.eval_shape`, so checks of an array's numbers have to pass over
    arrays that are traced; see `known_numbers`.

    A frozen dataclass is recorded by its fields. A class whose constructor takes a function that
    makes parts overrides `recorded_arguments`.

    The name of a class is what saved files hold, so it must stay the same. A name of this library
    cannot be used again; of other classes of one name, the one that was defined last is built.

    Attributes:
        recipe: the call that built this object; None where it is nested too deep to be repeated.
    """

    recipe: Recipe | None = None
    _kind = ""

    def __init_subclass__(cls, *, kind: str | None = None, **kwargs: Any) -> None:
        """Register a class, under its name or `kind.name`, which its subclasses inherit.

        Raises:
            ValueError: a class or factory of this library has the same name.
        """
        super().__init_subclass__(**kwargs)
        cls._kind = cls._kind if kind is None else kind
        name, library = _name(cls), __name__.partition(".")[0]
        if name in _CONSTRUCTORS and not _CONSTRUCTORS[name].__module__.startswith(f"{library}."):
            del _CONSTRUCTORS[name]
        _register(name, cls)
        if "__init__" in cls.__dict__:
            setattr(cls, "__init__", _remembering(cls.__dict__["__init__"]))  # noqa: B010

    def recorded_arguments(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The constructor's arguments as they are to be recorded."""
        return arguments


def remembers_recipe(factory: Factory) -> Factory:
    """Decorate a function that returns a new module, so that `recipe` holds the call of it.

    Args:
        factory: its name is what saved files hold: it must be unique and stay the same.

    Raises:
        TypeError: it takes *args, **kwargs or positional-only arguments.
        ValueError: another class or factory has the same name.
    """
    for parameter in _parameters(factory).values():
        if parameter.kind in _NAMELESS:
            raise TypeError(
                f"{factory.__name__} takes {parameter}; a recipe needs arguments with names"
            )

    @functools.wraps(factory)
    def remembering(*args: Any, **kwargs: Any) -> Any:
        module = factory(*args, **kwargs)
        module.recipe = _record(factory.__name__, _arguments(factory, args, kwargs), factory)
        return module

    _register(factory.__name__, remembering)
    return remembering  # type: ignore[return-value]


def register_functions(functions: Mapping[str, Callable[..., Any]]) -> None:
    """Let recipes hold these functions, by name, as well as those that are added later.

    A name without a dot is one that arguments of text take too, such as `activation="relu"`: there
    the function is recorded as that text, so that both ways to give it make equal recipes.
    """
    _FUNCTIONS.append(functions)


def known_numbers(array: Any) -> np.ndarray | None:
    """The numbers of an array, for checks; None while they are traced, and so unknown."""
    return None if isinstance(array, jax.core.Tracer) else np.asarray(array)


def recipe_of(value: Any) -> Recipe | None:
    """The call that built an object; None where it is unknown."""
    if not isinstance(value, Recorded):
        return None
    if value.recipe is not None:
        return value.recipe
    cls = type(value)
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        return _record(_name(cls), fields, cls)
    return Recipe(_name(cls), ()) if cls.__init__ is object.__init__ else None


def _register(name: str, constructor: Callable[..., Any]) -> None:
    known = _CONSTRUCTORS.get(name)
    # Defining the same thing again, as a notebook cell does, is no conflict.
    if known is not None and _origin(known) != _origin(constructor):
        raise ValueError(
            f"the recipe name {name!r} belongs to {_origin(known)}; saved files could not tell "
            f"it from {_origin(constructor)}: rename one of them"
        )
    _CONSTRUCTORS[name] = constructor


def _name(cls: type[Recorded]) -> str:
    return f"{cls._kind}.{cls.__name__}" if cls._kind else cls.__name__


def _origin(constructor: Callable[..., Any]) -> str:
    return f"{constructor.__module__}.{constructor.__qualname__}"


def _remembering(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor that sets `recipe` too, unless it is called by that of a subclass."""

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("rngs") is not None:
            check_rngs(kwargs["rngs"])
        init(self, *args, **kwargs)
        cls = type(self)
        if cls.__init__ is __init__:
            arguments = self.recorded_arguments(_arguments(cls, args, kwargs))
            self.recipe = _record(_name(cls), arguments, cls)

    return __init__


_NAMELESS = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.VAR_KEYWORD,
)


@functools.cache
def _parameters(constructor: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    # A metaclass with its own __call__, such as Flax's, hides the arguments of __init__.
    is_class = isinstance(constructor, type)
    function = constructor.__init__ if is_class else constructor
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError:  # an annotation of something that is imported for type checkers alone
        signature = inspect.signature(function)
    parameters = list(signature.parameters.items())
    return dict(parameters[1:] if is_class else parameters)


def _arguments(
    constructor: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments of a call that has been made, by name."""
    signature = inspect.Signature(list(_parameters(constructor).values()))
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return {key: value for key, value in bound.arguments.items() if key != "rngs"}


def _record(name: str, arguments: dict[str, Any], constructor: Callable[..., Any]) -> Recipe | None:
    values = []
    for key, value in arguments.items():
        parameter = _parameters(constructor)[key]
        if parameter.kind in _NAMELESS:
            value = Unrecorded(f"{parameter}, arguments without names")
        # The types among those of an annotation, each of a union by itself.
        kinds = get_args(parameter.annotation) or (parameter.annotation,)
        values.append((key, _value(value, kinds=kinds)))
    recipe = Recipe(name, tuple(values))
    return recipe if _depth(recipe) <= _MAX_DEPTH else None


def _value(value: Any, *, kinds: tuple[Any, ...] = ()) -> Value:
    if value is None or isinstance(value, (Maker, Unrecorded)):
        return value
    if jax.Array in kinds or np.ndarray in kinds or isinstance(value, (jax.Array, np.ndarray)):
        return _array_of(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(map(_value, value))
    function = _function(value)
    if function is not None and str in kinds and function.name.isidentifier():
        return function.name
    return recipe_of(value) or function or Unrecorded(_describe(value))


def _array_of(value: Any) -> ArrayOf | Unrecorded:
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    if not (jnp.issubdtype(array.dtype, np.number) or array.dtype == bool):
        return Unrecorded(f"an array of {array.dtype}")
    return ArrayOf(array.shape, str(jax.dtypes.canonicalize_dtype(array.dtype)))


def _function(value: Any) -> Function | None:
    names = (name for table in _FUNCTIONS for name, function in table.items() if function is value)
    return next(map(Function, names), None)


def _describe(value: Any) -> str:
    if isinstance(value, Recorded):
        return f"a {type(value).__name__} that does not know how it was built"
    kind = type(value).__name__
    return f"the {kind} {value.__qualname__}" if hasattr(value, "__qualname__") else f"a {kind}"


class RecordedModule(Recorded, nnx.Module):
    """A base of abstract classes of modules, whose copies compile nothing anew.

    Functions that JAX has compiled, such as activations, are compared by identity, and copies of
    them are others: pickled modules hold their names, and copied ones the same functions.
    """

    def __deepcopy__(self, memo: Any = None) -> Self:
        return jax.tree.map(lambda leaf: copy.deepcopy(leaf, memo), self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: _function(value) or value for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            vars(self)[name] = _named(value) if isinstance(value, Function) else value


def build(recipe: Recipe, rngs: Any) -> Any:
    """Repeat the call that a recipe describes; arrays among the arguments are zero.

    Args:
        recipe: the call.
        rngs: randomness for those constructors that take an argument `rngs`.

    Returns:
        The new object.

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


def _build_value(value: Value, rngs: Any) -> Any:
    match value:
        case Recipe():
            return build(value, rngs)
        case Maker():
            return functools.partial(build, value.recipe)
        case tuple():
            return tuple(_build_value(item, rngs) for item in value)
        case ArrayOf():
            return jnp.zeros(value.shape, value.dtype)
        case Function():
            return _named(value)
        case Unrecorded():
            raise ValueError(f"an argument is {value.what}, which no file can hold")
    return value


def _named(function: Function) -> Callable[..., Any]:
    known = {name: f for table in _FUNCTIONS for name, f in table.items()}
    if function.name not in known:
        raise ValueError(
            f"no function is called {function.name!r}; expected one of {sorted(known)}"
        )
    return known[function.name]


def unrecorded(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The arguments that no file can hold, each by its place in the recipe and in words."""
    for place, value in _places(recipe, ""):
        if isinstance(value, Unrecorded):
            yield place, value.what


def total_size(recipe: Recipe) -> int:
    """The sum of all whole numbers in a recipe, without their signs.

    A constructor that is traced, so that its arrays have no memory, still takes time and memory
    in proportion to such numbers: dimensions, widths, numbers of layers.
    """
    return sum(abs(value) for _, value in _places(recipe, "") if isinstance(value, int))


def num_parts(recipe: Recipe) -> int:
    """The number of calls in a recipe, and of numbers in its lists.

    Each may be a layer, which takes some milliseconds to trace whatever its size.
    """
    return sum(
        isinstance(value, Recipe) or (isinstance(value, (int, float)) and place.endswith("]"))
        for place, value in _places(recipe, "")
    )


def edited(recipe: Recipe, edit: Callable[[Recipe], Recipe]) -> Recipe:
    """A recipe in which each call was edited, from the inside outwards."""

    def inside(value: Value) -> Value:
        match value:
            case Recipe():
                return edited(value, edit)
            case Maker():
                return Maker(edited(value.recipe, edit))
            case tuple():
                return tuple(map(inside, value))
        return value

    arguments = tuple((key, inside(value)) for key, value in recipe.arguments)
    return edit(Recipe(recipe.name, arguments))


def _places(value: Value, place: str) -> Iterator[tuple[str, Value]]:
    """All values inside a value, itself included, each with its place, such as `hidden[0]`."""
    yield place.removeprefix("."), value
    for step, item in _inside(value):
        yield from _places(item, place + step)


def _inside(value: Value) -> list[tuple[str, Value]]:
    """The values right inside a value, each with the step that leads to it."""
    match value:
        case Recipe():
            return [(f".{key}", item) for key, item in value.arguments]
        case Maker():
            return [("", value.recipe)]
        case ArrayOf():
            return [("", value.shape)]
        case tuple():
            return [(f"[{i}]", item) for i, item in enumerate(value)]
    return []


def _depth(value: Value) -> int:
    """How many recipes and tuples are inside one another."""
    if not isinstance(value, (Recipe, Maker, tuple)):
        return 0
    return 1 + max((_depth(item) for _, item in _inside(value)), default=0)


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
    return None if recipe is None else edited(recipe, _completed)


# What calls did before these arguments came.
_CAME_LATER: dict[str, Value] = {"input_activation": "identity", "normalization": None}


def _completed(call: Recipe) -> Recipe:
    """A call with what it did before some arguments came: a recipe holds all that there were."""
    parameters = _parameters(_CONSTRUCTORS[call.name]) if call.name in _CONSTRUCTORS else {}
    given = dict(call.arguments)
    missing = {name: value for name, value in _CAME_LATER.items() if name in parameters}
    if not missing.keys() - given.keys():
        return call
    place = {name: i for i, name in enumerate(parameters)}
    ordered = sorted((missing | given).items(), key=lambda item: place.get(item[0], len(place)))
    return Recipe(call.name, tuple(ordered))


def _encode(value: Value) -> Any:
    match value:
        case Recipe():
            arguments = {key: _encode(item) for key, item in value.arguments}
            return {"name": value.name, "arguments": arguments}
        case Maker():
            return {"maker": _encode(value.recipe)}
        case ArrayOf():
            return {"array": list(value.shape), "dtype": value.dtype}
        case Function():
            return {"function": value.name}
        case Unrecorded():
            return {"unrecorded": value.what}
        case tuple():
            return [_encode(item) for item in value]
        case float() if not math.isfinite(value):
            return {"float": str(value)}  # JSON has no word for infinity
    return value


def _decode(data: Any) -> Value:
    match data:
        case {"name": str(name), "arguments": dict(arguments)}:
            # Names go into messages as they are.
            for word in (*name.split("."), *arguments):
                if not word.isidentifier():
                    raise ValueError(f"expected a name in Python, got {word[:80]!r}")
            return Recipe(name, tuple((key, _decode(item)) for key, item in arguments.items()))
        case {"maker": maker}:
            recipe = _decode(maker)
            if isinstance(recipe, Recipe):
                return Maker(recipe)
        case {"array": list(shape), "dtype": str(dtype)}:
            if all(type(size) is int and size >= 0 for size in shape):
                return ArrayOf(tuple(shape), _printable(dtype))
        case {"function": str(name)}:
            return Function(_printable(name))
        case {"unrecorded": str(what)}:
            return Unrecorded(_printable(what))
        case {"float": str(text)}:
            return float(text)
        case list():
            return tuple(map(_decode, data))
    if isinstance(data, dict):
        raise ValueError(f"expected a recipe or a number, got {str(data)[:80]}")
    return data


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"expected words, got {text[:80]!r}")
    return text
