"""What all factories share: the options that they show, explain, refuse and remember."""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

import jax
import numpy as np
import pytest
from battery.registry import AMORTIZED, GENERIC
from flax import nnx

from flowjax_lite import bijectors as b
from flowjax_lite.core.recipe import Recipe, build
from flowjax_lite.distributions import DiagonalNormal, Flow
from flowjax_lite.flows import NAMED, coupling, realnvp
from flowjax_lite.transformers import Affine, CubicSpline

FACTORIES: dict[str, Callable[..., Flow]] = {**NAMED, **GENERIC}
every_factory = pytest.mark.parametrize("name", FACTORIES)

# Another value of each option than the default.
CHANGES: dict[str, Any] = {
    "transformer": CubicSpline(),
    "dim": 4,
    "condition_dim": 3,
    "num_layers": 3,
    "hidden": (5,),
    "activation": "elu",
    "input_activation": "tanh",
    "network": "residual",
    "order": "reverse",
    "linear": True,
    "invert": True,
    "base": DiagonalNormal(3),
    "data_map": b.Exp(3),
    "condition_map": b.Exp(2),
    "circular": (0, 1),
    "num_bins": 3,
    "num_polynomials": 4,
    "degree": 5,
    "bound": 2.0,
    "half_width": 2.0,
    "nonlinearity": "leaky_relu",
    "form": "triangular",
    "rank": 2,
    "num_reflections": 3,
    "num_units": 3,
    "num_sigmoid_layers": 3,
    "integrand_hidden": (3,),
    "num_nodes": 16,
    "coefficient": 0.5,
    "log_det": "series",
    "num_components": 5,
    "divergence": "exact",
    "num_probes": 2,
    "method": "bosh3",
    "rtol": 1e-3,
    "atol": 1e-3,
    "num_steps": 5,
    "max_steps": 50,
    "adjoint": "backsolve",
    "num_frequencies": 2,
    "gradient": "recompute",
    "compute_dtype": "bfloat16",
}
# Where another meaning, or another default, of an option asks for it.
CHANGES_OF = {"naf": {"transformer": "ddsf"}, "autoregressive": {"order": "random"}}
# Settings without which an option has no effect.
NEEDS: dict[str, dict[str, Any]] = {"num_reflections": {"form": "householder"}}
NEEDS_OF = {"circular_nsf": {"circular": (0,)}}
# Options that have no effect in a flow without a condition and with all others at their defaults.
IDLE: dict[str, set[str]] = {
    name: {"hidden", "activation", "compute_dtype"} for name in AMORTIZED
} | {"circular_nsf": {"bound"}}
IDLE["sylvester"] |= {"num_reflections"}


def options(name: str) -> list[str]:
    """What can be set in a flow."""
    return [option for option in inspect.signature(FACTORIES[name]).parameters if option != "rngs"]


def changed(name: str, option: str) -> dict[str, Any]:
    """Another value of an option."""
    return {option: (CHANGES | CHANGES_OF.get(name, {}))[option]}


def structure(name: str, settings: dict[str, Any]) -> object:
    """All that a flow is made of, but the recipes, which hold settings without effect, too."""
    generic = {"transformer": Affine()} if name in GENERIC else {}

    make = functools.partial(FACTORIES[name], **generic | {"dim": 3} | settings)
    model = jax.eval_shape(lambda: make(rngs=nnx.Rngs(0)))
    for _, node in nnx.iter_graph(model):
        if isinstance(node, nnx.Module):
            node.recipe = None
    return jax.tree.structure(model), [leaf.shape for leaf in jax.tree.leaves(model)]


@every_factory
def test_every_option_has_an_effect(name: str):
    """Catches a setting that is accepted and ignored."""
    common = {"condition_dim": 2, "num_layers": 2, "hidden": (4,)} | NEEDS_OF.get(name, {})
    plain = structure(name, common)
    for option in options(name):
        needs = NEEDS.get(option, {})
        expected = structure(name, common | needs) if needs else plain
        assert structure(name, common | needs | changed(name, option)) != expected, option


@every_factory
def test_an_option_without_effect_raises(name: str):
    """Catches one that only a condition, or another option, gives an effect, and that is ignored.

    Options left at their defaults must not raise, whether they are written out or not.
    """
    plain, refused = structure(name, {}), set()
    for option in options(name):
        try:
            other = structure(name, changed(name, option))
        except ValueError as error:
            assert str(error).startswith(option)
            refused.add(option)
        else:
            assert other != plain, option
    assert refused == {"condition_map"} | IDLE.get(name, set())
    parameters = inspect.signature(FACTORIES[name]).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    assert structure(name, defaults) == plain


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("planar", {"activation": "tanh"}, "activation is 'tanh'.*planar without condition_dim"),
        ("ffjord", {"num_probes": 3, "divergence": "exact"}, 'num_probes is 3.*"exact"'),
        ("rnode", {"rtol": 1e-3, "num_steps": 4}, "rtol is 0.001.*num_steps"),
        ("cnf", {"atol": 1e-3, "num_steps": 4}, "atol is 0.001.*num_steps"),
        ("cnf", {"max_steps": 8, "num_steps": 4}, "max_steps is 8.*num_steps"),
        ("sylvester", {"num_reflections": 2, "form": "triangular"}, 'unless form is "householder"'),
        ("sylvester", {"rank": 2, "form": "householder"}, "rank"),
        ("circular_nsf", {"bound": 2.0, "circular": (0, 1, 2)}, "bound is 2.0.*all angles"),
    ],
)
def test_the_reason_is_told(name: str, settings: dict[str, Any], message: str):
    """Catches a pair of options, one of which makes the other one pointless."""
    with pytest.raises(ValueError, match=message):
        FACTORIES[name](dim=3, **settings, rngs=nnx.Rngs(0))


def test_files_with_an_option_without_effect_still_load():
    """Catches model files of an earlier version, which accepted such options, that are refused."""
    recipe = Recipe("planar", (("dim", 2), ("num_layers", 2), ("hidden", (8,))))
    assert build(recipe, nnx.Rngs(0)).recipe.name == "planar"


@every_factory
def test_signature_and_docstring_are_complete(name: str):
    """Catches an option that `help` or a notebook's tooltip does not show, or does not describe."""
    signature = inspect.signature(FACTORIES[name])
    text = FACTORIES[name].__doc__
    head, _, arguments = text.partition("\n\nArgs:\n")
    arguments, returns, _ = arguments.partition("\n\nReturns:\n    The flow, ")
    assert head
    assert returns
    described = re.findall(r"^    (\w+): \S", arguments, re.MULTILINE)
    assert described == list(signature.parameters)
    for parameter in list(signature.parameters.values())[name in GENERIC :]:
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert (parameter.default is parameter.empty) == (parameter.name in ("dim", "rngs"))
        assert parameter.annotation is not parameter.empty
    assert signature.return_annotation is Flow


@every_factory
def test_every_choice_of_a_signature_is_taken(name: str):
    """Catches a choice that a tooltip offers and the flow refuses."""
    for option, parameter in inspect.signature(FACTORIES[name]).parameters.items():
        if get_origin(parameter.annotation) is Literal:
            needs = {"condition_dim": 2} if option != "method" else {"num_steps": 2}
            for choice in get_args(parameter.annotation):
                structure(name, needs | {option: choice})


@pytest.mark.parametrize(
    ("name", "arguments", "settings", "message"),
    [
        ("maf", (), {"dim": 2, "num_layer": 2}, "no argument 'num_layer'. Did you mean num_layers"),
        ("planar", (), {"dim": 2, "size": 2}, "planar takes no argument 'size'. It takes dim, "),
        ("realnvp", (3,), {}, r"by name, such as realnvp\(dim=2, rngs=nnx.Rngs\(0\)\)"),
        ("coupling", (Affine(), 3), {}, r"by name, such as coupling\(transformer, dim=2, "),
        ("sos", (), {}, "sos needs dim: dimension of an event"),
        ("coupling", (), {"dim": 2}, "coupling needs transformer: the scalar map"),
        ("coupling", (Affine,), {"dim": 2}, r"transformer is .*such as fl.transformers.Affine\(\)"),
        ("cnf", (), {"dim": 2, "rngs": 0}, r"rngs has type int; expected .*rngs=nnx.Rngs\(0\)"),
    ],
)
def test_wrong_calls_are_explained(
    name: str, arguments: tuple[Any, ...], settings: dict[str, Any], message: str
):
    """Catches Python's own message, which says neither what is meant nor what there is."""
    with pytest.raises(TypeError, match=message):
        FACTORIES[name](*arguments, **{"rngs": nnx.Rngs(0)} | settings)


def test_rngs_is_needed():
    """Catches weights from a seed that nobody chose."""
    with pytest.raises(TypeError, match=r"maf needs rngs: .*nnx.Rngs\(0\)"):
        NAMED["maf"](dim=2)


def test_a_named_flow_is_the_generic_one_with_its_transformer():
    """Catches a generic factory that builds something else, or a recipe of the inner call."""
    build_flow = functools.partial(realnvp, dim=3, num_layers=2, hidden=(4,))
    named = build_flow(rngs=nnx.Rngs(0))
    generic = coupling(Affine(), dim=3, num_layers=2, hidden=(4,), rngs=nnx.Rngs(0))
    for got, expected in zip(jax.tree.leaves(generic), jax.tree.leaves(named), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert named.recipe.name == "realnvp"
    recorded = dict(named.recipe.arguments)
    assert recorded["activation"] == "silu"  # defaults are recorded, too
    assert recorded["num_layers"] == 2
