"""Recipes: how a module remembers the call that built it."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flowjax_lite.bijectors import Reverse as _Reverse  # noqa: F401, has a name to take
from flowjax_lite.core.recipe import (
    ArrayOf,
    Function,
    Maker,
    Recipe,
    Recorded,
    Unrecorded,
    build,
    edited,
    from_json,
    recipe_of,
    register_functions,
    remembers_recipe,
    to_json,
    unrecorded,
)

register_functions({"arctan": np.arctan})


class Part(Recorded):
    """A module as far as recipes can see, without flax."""

    def __init__(self, dim: int, *, scale: float = 1.0, rngs: Any = None) -> None:
        self.dim, self.scale, self.rngs = dim, scale, rngs


class Plain(Recorded):
    """A module without randomness that holds others."""

    def __init__(self, parts: Any, *, extra: Any = None) -> None:
        self.parts, self.extra = parts, extra


class Child(Part):
    """Built by a call of its own."""

    def __init__(self) -> None:
        super().__init__(3)


class Heir(Part):
    """Built by the call of its parent."""


class Table(Recorded, kind="table"):
    """Takes arrays, given in any form."""

    def __init__(self, rows: jax.Array | list, *, more: "np.ndarray | None" = None) -> None:
        self.rows, self.more = rows, more


@dataclass(frozen=True)
class Settings(Recorded, kind="settings"):
    """A frozen dataclass."""

    size: int
    name: str = "a"


class Many(Recorded):
    """Makes its parts by a function."""

    def __init__(self, make: Any, number: int) -> None:
        self.parts = [make(None) for _ in range(number)]

    def recorded_arguments(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The function, by what it made."""
        return arguments | {"make": Maker(self.parts[0].recipe)}


class Nameless(Recorded):
    """Takes what has no name."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts


class Bare(Recorded):
    """Takes nothing."""


@remembers_recipe
def two_parts(dim: int, *, hidden: tuple[int, ...] = (8, 8), base: Any = None) -> Plain:
    """A factory around other constructors."""
    return Plain([Part(dim), Part(dim, scale=2.0)], extra=base)


def test_defaults_are_recorded_and_rngs_are_not():
    """Catches recipes that change with a default, or that hold random state."""
    assert Part(3, rngs=nnx.Rngs(0)).recipe == Recipe("Part", (("dim", 3), ("scale", 1.0)))


@pytest.mark.parametrize("seed", [0, jax.random.key(0)])
def test_rngs_that_are_none_are_told(seed: Any):
    """Catches an AttributeError from deep inside where a seed is given for `rngs`."""
    with pytest.raises(TypeError, match=r"rngs has type .*; expected nnx.Rngs, such as"):
        Part(3, rngs=seed)


def test_the_factory_wins_over_the_class_it_calls():
    """Catches a factory's recipe lost to the one of the class that it returns."""
    recipe = two_parts(2, hidden=[4]).recipe
    assert recipe == Recipe("two_parts", (("dim", 2), ("hidden", (4,)), ("base", None)))


def test_modules_inside_arguments_become_their_recipes():
    """Catches nested modules, alone or in a list, that make a recipe unusable."""
    recipe = Plain([Part(1), Part(2)], extra=Part(3)).recipe
    assert recipe is not None and hash(recipe) == hash(from_json(to_json(recipe)))
    rngs = nnx.Rngs(0)
    rebuilt = build(recipe, rngs=rngs)
    assert [part.dim for part in rebuilt.parts] == [1, 2]
    assert rebuilt.extra.dim == 3 and rebuilt.extra.rngs is rngs
    assert rebuilt.recipe == recipe


@pytest.mark.parametrize(
    ("argument", "what"),
    [
        (math.sqrt, "the builtin_function_or_method sqrt"),
        (lambda x: x, "the function <lambda>"),
        (object(), "a object"),
        ({"a": 1}, "a dict"),
        (jax.random.key(0), "an array of key<fry>"),
        (np.array(["a"]), "an array of <U1"),
    ],
)
def test_what_cannot_be_recorded_is_named_with_its_place(argument: Any, what: str):
    """Catches a recipe that silently leaves out an argument."""
    recipe = Plain([Part(1), Plain((argument,))]).recipe
    assert recipe is not None
    assert list(unrecorded(recipe)) == [("parts[1].parts[0]", what)]
    assert from_json(to_json(recipe)) == recipe
    with pytest.raises(ValueError, match="no file can hold"):
        build(recipe, None)
    assert not list(unrecorded(Plain([Part(1)]).recipe))


def test_a_subclass_has_a_recipe_of_its_own():
    """Catches a subclass that would be rebuilt as its parent."""
    assert Child().recipe == Recipe("Child", ())
    assert Heir(2).recipe == Recipe("Heir", (("dim", 2), ("scale", 1.0)))
    assert type(build(Heir(2).recipe, None)) is Heir
    assert recipe_of(Bare()) == Recipe("Bare", ())


def test_arrays_are_recorded_without_their_numbers():
    """Catches recipes that differ, and compile anew, for other numbers; or a false number."""
    recipe = Table([[1, 2, 3]], more=np.ones(2, np.float64)).recipe
    assert recipe == Table(jnp.array([[4, 5, 6]]), more=np.zeros(2, np.float32)).recipe
    rows, more = ArrayOf((1, 3), "int32"), ArrayOf((2,), "float32")
    assert recipe == Recipe("table.Table", (("rows", rows), ("more", more)))
    assert Table(2.0).recipe == Recipe(
        "table.Table", (("rows", ArrayOf((), "float32")), ("more", None))
    )
    assert Plain(np.ones(3)).recipe == Plain(jnp.ones(3)).recipe
    rebuilt = jax.eval_shape(lambda: build(recipe, None).rows)
    assert (rebuilt.shape, rebuilt.dtype) == ((1, 3), jnp.int32)


def test_dataclasses_functions_and_makers_are_recorded():
    """Catches settings, activations and layers of a repeated kind that need a template."""
    recipe = Many(lambda rngs: Plain(Settings(2), extra=np.arctan), 3).recipe
    settings = Recipe("settings.Settings", (("size", 2), ("name", "a")))
    layer = Recipe("Plain", (("parts", settings), ("extra", Function("arctan"))))
    assert recipe == Recipe("Many", (("make", Maker(layer)), ("number", 3)))
    back = from_json(to_json(recipe))
    assert back == recipe and hash(back) == hash(recipe)
    rebuilt = build(back, None)
    assert [part.extra for part in rebuilt.parts] == 3 * [np.arctan]
    assert rebuilt.parts[0].parts == Settings(2)


def test_an_edit_reaches_every_call():
    """Catches an edit that misses a call inside a list, an argument or a maker."""
    recipe = Plain([Part(1)], extra=Many(lambda rngs: Part(1), 2)).recipe

    def enlarge(recipe: Recipe) -> Recipe:
        arguments = dict(recipe.arguments)
        if "dim" in arguments:
            arguments["dim"] = 5
        return Recipe(recipe.name, tuple(arguments.items()))

    assert edited(recipe, enlarge) == Plain([Part(5)], extra=Many(lambda rngs: Part(5), 2)).recipe


def test_an_unknown_function_is_explained():
    """Catches a bare KeyError for a function that is not registered here."""
    with pytest.raises(ValueError, match=r"no function is called 'unknown'.*arctan"):
        build(Recipe("Plain", (("parts", Function("unknown")),)), None)


@pytest.mark.parametrize(
    "value",
    [None, True, 1, 1.0, 0.1, 1e-320, 1 / 3, math.inf, -math.inf, -0.0, 'é\n"', (), ((1,), 2.5)],
)
def test_json_keeps_value_and_type(value: Any):
    """Catches floats rounded on the way, ints turned into floats, lists for tuples."""
    recipe = Recipe("Plain", (("parts", value), ("extra", Recipe("Part", ()))))
    text = to_json(recipe)
    assert "Infinity" not in text
    back = from_json(text)
    assert back == recipe
    assert repr(back) == repr(recipe)


def test_json_of_no_recipe():
    """Catches a hand-built flow that could not be written."""
    assert from_json(to_json(None)) is None


@pytest.mark.parametrize("text", ["3", "[]", '{"a": 1}', '{"name": 1, "arguments": {}}', "{"])
def test_other_json_is_refused(text: str):
    """Catches a damaged recipe that surfaces later as a strange error."""
    with pytest.raises(ValueError):
        from_json(text)


def test_numpy_numbers_become_python_numbers():
    """Catches `dim=np.int64(3)`, as array code yields, losing the recipe."""
    recipe = Part(np.int64(3), scale=np.float32(0.1)).recipe
    assert recipe == Recipe("Part", (("dim", 3), ("scale", float(np.float32(0.1)))))
    assert all(type(value) in (int, float) for _, value in recipe.arguments)


def test_a_recipe_reads_like_its_call():
    """Catches error messages that print nested dataclasses."""
    text = str(Plain((Part(2),), extra="a").recipe)
    assert text == "Plain(parts=(Part(dim=2, scale=1.0),), extra='a')"


def test_unknown_name_and_unknown_argument_are_explained():
    """Catches a bare KeyError or TypeError for a file from another version."""
    with pytest.raises(ValueError, match=r"no constructor is called 'Nothing'.*import the module"):
        build(Recipe("Nothing", ()), None)
    with pytest.raises(ValueError, match="Part takes no argument 'width'"):
        build(Recipe("Part", (("width", 3),)), None)


def test_two_constructors_cannot_share_a_name():
    """Catches a file that would be rebuilt by the wrong constructor."""

    def other() -> Plain:
        return Plain(())

    other.__name__ = "two_parts"
    with pytest.raises(ValueError, match=r"'two_parts' belongs to .*rename"):
        remembers_recipe(other)


def test_defining_the_same_constructor_again_is_allowed():
    """Catches a notebook cell that works only once."""
    for default in (1, 2):

        @remembers_recipe
        def redefined(dim: int = default) -> Plain:
            return Plain(dim)

    assert build(Recipe("redefined", ()), None).parts == 2


def test_arguments_without_names_are_refused():
    """Catches arguments that a recipe could not name."""
    with pytest.raises(TypeError, match="nameless takes"):

        @remembers_recipe
        def nameless(*parts: Any) -> Plain:
            return Plain(parts)

    what = Unrecorded("*parts: Any, arguments without names")
    assert Nameless(1).recipe == Recipe("Nameless", (("parts", what),))


def test_a_class_of_a_name_that_is_taken_is_refused():
    """Catches a user's class whose file would be rebuilt as one of the library; kinds are apart."""
    with pytest.raises(ValueError, match=r"'Reverse' belongs to flowjax_lite.*rename"):

        class Reverse(Recorded):
            pass

    class Reverse(Recorded, kind="other"):
        pass


def test_of_classes_of_one_name_the_last_is_built():
    """Catches test files or notebooks of which only one may define a layer of some name."""
    for _ in range(2):

        class Twice(Recorded):
            pass

    other = type("Twice", (Recorded,), {"__module__": "other"})
    assert type(build(recipe_of(Twice()), None)) is other


def test_a_wrong_call_raises_the_error_of_python():
    """Catches a decorator that hides which argument is missing."""
    with pytest.raises(TypeError, match=r"__init__\(\) missing 1 required .*'dim'"):
        Part()
