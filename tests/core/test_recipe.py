"""Recipes: how a module remembers the call that built it."""

import math
from typing import Any

import numpy as np
import pytest

from flowjax_lite.core.recipe import Recipe, build, from_json, remembers_recipe, to_json


class Part:
    """A module as far as recipes can see, without flax."""

    recipe: Recipe | None = None

    @remembers_recipe
    def __init__(self, dim: int, *, scale: float = 1.0, rngs: Any = None) -> None:
        self.dim, self.scale, self.rngs = dim, scale, rngs


class Plain:
    """A module without randomness that holds others."""

    recipe: Recipe | None = None

    @remembers_recipe
    def __init__(self, parts: Any, *, extra: Any = None) -> None:
        self.parts, self.extra = parts, extra


class Child(Part):
    """Built by a call of its own, which nobody recorded."""

    def __init__(self) -> None:
        super().__init__(3)


@remembers_recipe
def two_parts(dim: int, *, hidden: tuple[int, ...] = (8, 8), base: Any = None) -> Plain:
    """A factory around other constructors."""
    return Plain([Part(dim), Part(dim, scale=2.0)], extra=base)


def test_defaults_are_recorded_and_rngs_are_not():
    """Catches recipes that change with a default, or that hold random state."""
    assert Part(3, rngs=object()).recipe == Recipe("Part", (("dim", 3), ("scale", 1.0)))


def test_the_factory_wins_over_the_class_it_calls():
    """Catches a factory's recipe lost to the one of the class that it returns."""
    recipe = two_parts(2, hidden=[4]).recipe
    assert recipe == Recipe("two_parts", (("dim", 2), ("hidden", (4,)), ("base", None)))


def test_modules_inside_arguments_become_their_recipes():
    """Catches nested modules, alone or in a list, that make a recipe unusable."""
    recipe = Plain([Part(1), Part(2)], extra=Part(3)).recipe
    assert recipe is not None and hash(recipe) == hash(from_json(to_json(recipe)))
    rebuilt = build(recipe, rngs="keys")
    assert [part.dim for part in rebuilt.parts] == [1, 2]
    assert (rebuilt.extra.dim, rebuilt.extra.rngs) == (3, "keys")
    assert rebuilt.recipe == recipe


@pytest.mark.parametrize("argument", [lambda x: x, np.zeros(2), object(), Child(), {"a": 1}])
def test_what_cannot_be_recorded_gives_no_recipe(argument: Any):
    """Catches a recipe that silently leaves out an argument."""
    assert Plain(argument).recipe is None
    assert Plain([Part(1), (argument,)]).recipe is None


def test_a_subclass_does_not_inherit_the_recipe_of_its_parent():
    """Catches a subclass that would be rebuilt as its parent."""
    assert Child().recipe is None


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


def test_a_wrong_call_raises_the_error_of_python():
    """Catches a decorator that hides which argument is missing."""
    with pytest.raises(TypeError, match=r"__init__\(\) missing 1 required .*'dim'"):
        Part()
