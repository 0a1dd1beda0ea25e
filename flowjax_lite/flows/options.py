"""The options that named flows share: written and documented once, shown in full by every factory.

A factory declares what it has for itself, and takes the rest as `**options: Unpack[FlowOptions]`,
which type checkers understand. `flow_factory` adds the names, defaults and descriptions of the
rest to its signature and its docstring.
"""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, Required, TypedDict, TypeVar, get_args, get_type_hints

from flax import nnx

from flowjax_lite.bijectors import AbstractBijector
from flowjax_lite.bijectors.repeat import Gradient
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.continuous import Solver
from flowjax_lite.continuous.solver import Adjoint, SolverMethod
from flowjax_lite.core.checks import check_rngs, suggest
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions import AbstractBase, Flow
from flowjax_lite.numerics.product import ComputeDtype
from flowjax_lite.transformers import AbstractTransformer

Factory = TypeVar("Factory", bound=Callable[..., Flow])

DivergenceName = Literal["exact", "hutchinson", "hutch++"]
DIVERGENCES: tuple[str, ...] = get_args(DivergenceName)
Network = Literal["mlp", "residual"]


class FlowOptions(TypedDict, total=False):
    """The options of every flow.

    Args:
        dim: dimension of an event; 1 is allowed.
        condition_dim: dimension of a condition; None for an unconditional flow.
        num_layers: number of layers.
        base: distribution of the latent; None is a standard normal.
        data_map: fixed bijector from unit scale to the data, such as
            `Standardize.from_data(x)`; None for data already of unit scale.
        condition_map: the same for conditions.
        gradient: what a backward pass keeps of each layer: "store" all that it needs,
            "recompute" its input, "invert" nothing; see `Repeat`.
        compute_dtype: precision of the networks' products: "float32", "tensorfloat32" or
            "bfloat16"; see `conditioners.check_compute_dtype`.
        rngs: source of the initial weights, such as `nnx.Rngs(0)`.
    """

    dim: Required[int]
    condition_dim: int | None
    base: AbstractBase | None
    data_map: AbstractBijector | None
    condition_map: AbstractBijector | None
    gradient: Gradient
    compute_dtype: ComputeDtype
    rngs: Required[nnx.Rngs]


class NetworkOptions(FlowOptions, total=False):
    """The options of flows whose layers hold a network each.

    Args:
        hidden: widths of each network's hidden layers.
        activation: name or function of the networks' nonlinearity: "silu" is smooth, and so is the
            density, but where pieces of a spline join.
        input_activation: name or function of what the networks see of the entries of an event:
            "arcsinh" leaves small numbers as they are, and of large ones the logarithm, so that
            parameters far from the data do not grow as these do; "identity" shows them as they
            are. A condition is always shown as it is.
    """

    hidden: tuple[int, ...]
    activation: str | Activation


class ConditionerOptions(NetworkOptions, total=False):
    """The options of flows whose networks see entries of the event, by default as they are."""

    input_activation: str | Activation


class AmortizedOptions(NetworkOptions, total=False):
    """The options of flows whose layers have a network only where there is a condition.

    Args:
        hidden: widths of the hidden layers of each network, from a condition to a layer's
            parameters; only with condition_dim, as activation and compute_dtype.
    """


class ContinuousOptions(FlowOptions, total=False):
    """The options of flows along differential equations.

    Args:
        num_layers: number of equations solved one after the other, each with its own network.
        activation: name or function of the networks' nonlinearity, smooth.
        divergence: of the velocity where a key is given, as in training: "exact", "hutchinson"
            or "hutch++".
        num_probes: random probes of an estimate; see `continuous.Hutchinson` and
            `continuous.HutchPlusPlus`.
        method: of the solver; see `continuous.Solver`, also for the following five.
        rtol: relative tolerance of a step. Training by likelihood may do with 1e-5, and take half
            the steps; `continuous.with_solver` then gives the trained flow another.
        atol: absolute tolerance of a step.
        num_steps: number of steps of constant size; None adapts them to the tolerances.
        max_steps: an event that needs more steps is NaN.
        adjoint: how gradients are found: "replay", "checkpoint", "backsolve" or "direct".
        gradient: what a backward pass keeps of each equation: "store" all that it needs,
            "recompute" its start, "invert" nothing; see `Repeat`.
        compute_dtype: precision of the networks' products: "float32", "tensorfloat32" or
            "bfloat16"; see `conditioners.check_compute_dtype`. With less than full precision the
            velocity jumps, and solves to tolerances below 1e-5 fail.
    """

    divergence: DivergenceName
    num_probes: int
    method: SolverMethod
    rtol: float
    atol: float
    num_steps: int | None
    max_steps: int
    adjoint: Adjoint


class ImageOptions(TypedDict, total=False):
    """The options of flows of images.

    Args:
        image_shape: (height, width, channels) of an event.
        condition_dim: dimension of a condition, such as the number of classes; None for an
            unconditional flow.
        num_levels: number of levels of a pixel: an event holds numbers in [0, num_levels), such
            as 256 for bytes with noise, see `Dequantized`; 1 for numbers in [0, 1).
        logit: a number below 0.5 for the fixed map to unit scale: a pixel x, divided by
            num_levels, becomes the logarithm of the odds of logit + (1 - 2 logit) x, as in the
            paper on RealNVP. The smaller the number, the more room the darkest and the brightest
            levels have. None for a shift and a scale alone.
        condition_map: fixed bijector from unit scale to the conditions.
        gradient: what a backward pass keeps of each layer: "store" all that it needs,
            "recompute" its input, "invert" nothing; see `Repeat`.
        compute_dtype: precision of the networks' products: "float32", "tensorfloat32" or
            "bfloat16"; see `conditioners.check_compute_dtype`.
        rngs: source of the initial weights, such as `nnx.Rngs(0)`.
    """

    image_shape: Required[tuple[int, int, int]]
    condition_dim: int | None
    num_levels: int
    logit: float | None
    condition_map: AbstractBijector | None
    gradient: Gradient
    compute_dtype: ComputeDtype
    rngs: Required[nnx.Rngs]


class ScaleOptions(ImageOptions, total=False):
    """The options of flows of images at several scales.

    Args:
        num_scales: number of scales; each but the last leaves half of the numbers behind.
    """

    num_scales: int


class AttentionOptions(ImageOptions, total=False):
    """The options of flows of images whose networks are transformers.

    Args:
        width: of the activations of a patch, a multiple of num_heads.
        num_heads: number of heads of each attention.
        normalization: "act" for an `ActNorm` of all numbers of an image, which `initialize` sets
            from data before training: the networks see numbers around zero, and are trained in a
            fraction of the steps; None for none, as published.
    """

    width: int
    num_heads: int
    normalization: Literal["act"] | None


SOLVER: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Solver)}
# An option whose default differs between flows is a parameter of each factory.
DEFAULTS: dict[str, Any] = {
    "condition_dim": None,
    "hidden": (128, 128),
    "activation": "silu",
    "input_activation": "identity",
    "divergence": "hutchinson",
    "num_probes": 1,
    **SOLVER,
    "base": None,
    "data_map": None,
    "condition_map": None,
    "gradient": "store",
    "compute_dtype": "float32",
    "num_scales": 2,
    "width": 128,
    "num_heads": 4,
    "normalization": "act",
    "num_levels": 256,
    "logit": 0.01,
}

# The order of a signature: these, then what a flow has for itself, then the last ones.
_FIRST = (
    *("dim", "image_shape", "condition_dim", "num_scales", "num_layers"),
    *("hidden", "activation", "input_activation"),
)
_LAST = (
    "num_levels",
    "logit",
    "base",
    "data_map",
    "condition_map",
    "gradient",
    "compute_dtype",
    "rngs",
)
_RETURNS = "    The flow, the identity map at initialisation."


def flow_factory(function: Factory) -> Factory:
    """Decorate a function that builds a flow, so that users see all options and mistakes are told.

    The factory shows every option in its signature and its docstring, explains names that are
    wrong or missing, and gives the flow its recipe. The function itself receives every option,
    defaults included.

    Args:
        function: builds the flow. Its docstring describes what it has for itself, and any shared
            option that means something else here.

    Returns:
        The factory.
    """
    signature = _signature(function)

    @functools.wraps(function)
    def factory(*args: Any, **kwargs: Any) -> Flow:
        return function(**_bind(factory, args, kwargs))

    factory.__signature__ = signature  # type: ignore[attr-defined]
    factory.__doc__ = _docstring(function, signature)
    return remembers_recipe(factory)  # type: ignore[return-value]


def without_effect(
    *names: str, when: Callable[[Mapping[str, Any]], bool], reason: str
) -> Callable[[Factory], Factory]:
    """Decorate a factory, so that options raise where they would change nothing.

    Recipes are built by the factory beneath: files of earlier versions, in which such options
    were accepted, still load.

    Args:
        names: the options; one with its default value never raises.
        when: whether they have no effect, given all options by name.
        reason: ends the message.
    """

    def decorate(factory: Factory) -> Factory:
        parameters = inspect.signature(factory).parameters
        defaults = {name: parameter.default for name, parameter in parameters.items()}

        @functools.wraps(factory)
        def strict(*args: Any, **kwargs: Any) -> Flow:
            for name in names:
                changed = name in kwargs and kwargs[name] != defaults[name]
                if changed and when(defaults | kwargs):
                    raise ValueError(
                        f"{name} is {kwargs[name]!r}, which has no effect in "
                        f"{factory.__name__} {reason}: leave it out"
                    )
            return factory(*args, **kwargs)

        return strict  # type: ignore[return-value]

    return decorate


amortized = without_effect(
    "hidden",
    "activation",
    "compute_dtype",
    when=lambda options: options["condition_dim"] is None,
    reason="without condition_dim",
)


def check_transformer(transformer: Any) -> AbstractTransformer:
    """Return the transformer of a generic flow.

    Raises:
        TypeError: it is none, for instance a class instead of an instance.
    """
    if not isinstance(transformer, AbstractTransformer):
        raise TypeError(
            f"transformer is {transformer!r}; expected a transformer, such as "
            f"fl.transformers.Affine()"
        )
    return transformer


def network_options(options: NetworkOptions | ImageOptions) -> dict[str, Any]:
    """The options that go to each layer's network."""
    names = (
        *("hidden", "width", "num_heads", "condition_dim"),
        *("activation", "input_activation", "compute_dtype"),
    )
    return {name: value for name, value in options.items() if name in names}


def amortizer_options(options: AmortizedOptions | ImageOptions) -> dict[str, Any]:
    """The options that go to each layer's network, none where there is no condition."""
    return {} if options["condition_dim"] is None else network_options(options)


def _signature(function: Callable[..., Flow]) -> inspect.Signature:
    """The function's signature, with each shared option in place of `**options`."""
    own = inspect.signature(function)
    parameters = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    kind = _options_of(function)
    if kind is not None:
        for name, annotation in get_type_hints(kind).items():
            required = name in kind.__required_keys__
            parameters.append(
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=inspect.Parameter.empty if required else DEFAULTS[name],
                    annotation=annotation,
                )
            )

    def place(parameter: inspect.Parameter) -> tuple[int, int, int]:
        name = parameter.name
        first = _FIRST.index(name) if name in _FIRST else len(_FIRST)
        last = 1 + _LAST.index(name) if name in _LAST else 0
        return parameter.kind, first, last

    return own.replace(parameters=sorted(parameters, key=place))


def _options_of(function: Callable[..., Flow]) -> Any:
    """The class of the shared options that a function takes, or None."""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            return get_args(parameter.annotation)[0]
    return None


def _docstring(function: Callable[..., Flow], signature: inspect.Signature) -> str:
    """The function's docstring, with a description of each argument of the signature."""
    descriptions: dict[str, str] = {}
    kind = _options_of(function)
    images = kind in (ImageOptions, ScaleOptions, AttentionOptions)
    for source in (*([ImageOptions] if images else [FlowOptions, NetworkOptions]), kind, function):
        descriptions |= _descriptions(source)
    arguments = [f"    {name}: {descriptions.get(name, '')}" for name in signature.parameters]
    sections = {"": "", "Args": "", "Returns": _RETURNS} | _sections(function)
    head = sections.pop("")
    sections["Args"] = "\n".join(arguments)
    return "\n\n".join([head, *(f"{title}:\n{text}" for title, text in sections.items())])


def _sections(documented: Any) -> dict[str, str]:
    """The sections of a docstring by their titles; what comes before them has none."""
    head, *sections = re.split(r"\n\n(?=\w+:\n {4})", inspect.getdoc(documented) or "")
    titled = (section.partition(":\n") for section in sections)
    return {"": head} | {title: text for title, _, text in titled}


def _descriptions(documented: Any) -> dict[str, str]:
    """The descriptions of arguments in a docstring."""
    text = _sections(documented).get("Args", "")
    return dict(re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", text, re.MULTILINE))


def _bind(factory: Callable[..., Flow], args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments by name, defaults included, or an error that explains the call.

    Raises:
        TypeError: an argument is unknown, missing or given by its place, or rngs is no `Rngs`.
    """
    name, signature = factory.__name__, inspect.signature(factory)
    for key in kwargs:
        if key not in signature.parameters:
            hint = suggest(key, list(signature.parameters))
            known = ", ".join(signature.parameters)
            raise TypeError(f"{name} takes no argument {key!r}.{hint} It takes {known}")
    positional = [p.name for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]
    if len(args) > len(positional):
        shape = "dim=2" if "dim" in signature.parameters else "image_shape=(28, 28, 1)"
        call = ", ".join([*positional, shape, "rngs=nnx.Rngs(0)"])
        raise TypeError(f"{name} takes arguments by name, such as {name}({call})")
    bound = signature.bind_partial(*args, **kwargs)
    bound.apply_defaults()
    for key in signature.parameters:
        if key not in bound.arguments:
            raise TypeError(f"{name} needs {key}: {_descriptions(factory)[key]}")
    check_rngs(bound.arguments["rngs"])
    return bound.arguments
