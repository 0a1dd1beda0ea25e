"""The library against `reference`: what plain numpy makes of the same arrays and formulas."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from helpers import reference
from helpers import reference_scalars as scalars
from helpers.reference import Arrays, layer, part
from helpers.reference_scalars import Scalar
from jax import Array

import flowjax_lite as fl
from flowjax_lite import bijectors as b
from flowjax_lite.conditioners import MADE, MLP, ResidualMADE
from flowjax_lite.transformers import (
    AbstractTransformer,
    Affine,
    DeepDenseSigmoid,
    DeepSigmoid,
    RationalQuadraticSpline,
)

DIM, CONDITION_DIM, KEPT, NUM_POINTS = 4, 2, 1, 40
HIDDEN, BINS, BOUND = (7, 5), 5, 3.0
TOLERANCE = 1e-10
RNG = np.random.default_rng(0)
# Inside the splines, at the ends of their interval, and far out.
POINTS = RNG.normal(scale=2.0, size=(NUM_POINTS, DIM))
POINTS[::8] *= 20
POINTS[1::8, ::2] = -BOUND
POINTS[2::8, 1::2] = BOUND
CONDITIONS = RNG.normal(size=(NUM_POINTS, CONDITION_DIM))


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """All of this is in float64."""
    with jax.enable_x64(True):
        yield


class Pair(NamedTuple):
    """A transformer, and the same scalar map in numpy in both directions."""

    transformer: AbstractTransformer
    forward: Scalar
    inverse: Scalar


_spline = {"num_bins": BINS, "bound": BOUND}
SCALARS = {
    "Affine": Pair(Affine(), scalars.affine, scalars.affine_inverse),
    "RationalQuadraticSpline": Pair(
        RationalQuadraticSpline(**_spline),
        partial(scalars.spline, **_spline),
        partial(scalars.spline_inverse, **_spline),
    ),
    "DeepSigmoid": Pair(
        DeepSigmoid(num_units=3),
        scalars.by_bisection(scalars.naf_inverse, radius=1e8),
        scalars.naf_inverse,
    ),
    "DeepDenseSigmoid": Pair(
        DeepDenseSigmoid(num_units=2),
        scalars.by_bisection(partial(scalars.dense_naf_inverse, units=2), radius=1e8),
        partial(scalars.dense_naf_inverse, units=2),
    ),
}


class Case(NamedTuple):
    """A bijector, and its two directions in numpy: functions of arrays, event and condition."""

    make: Callable[[], b.AbstractBijector]
    forward: Callable[[Arrays, np.ndarray, np.ndarray | None], tuple[np.ndarray, float]]
    inverse: Callable[[Arrays, np.ndarray, np.ndarray | None], tuple[np.ndarray, float]]


def autoregressive(
    pair: Pair,
    kind: type,
    network: Callable,
    condition_dim: int | None,
    input_activation: str = "identity",
) -> Case:
    """An autoregressive layer of that network."""
    num_params = pair.transformer.num_params
    read = {"identity": np.asarray, "arcsinh": np.arcsinh}[input_activation]

    def make() -> b.MaskedAutoregressive:
        hidden = HIDDEN if kind is MADE else (7, 7)
        options = {"hidden": hidden, "activation": "tanh", "condition_dim": condition_dim}
        options["input_activation"] = input_activation
        made = kind(DIM, num_params=num_params, rngs=nnx.Rngs(0), **options)
        return b.MaskedAutoregressive(pair.transformer, made)

    def params_of(arrays: Arrays, condition: np.ndarray | None) -> reference.Network:
        inside = part(arrays, "conditioner")
        return lambda y: network(inside, read(y), num_params=num_params, condition=condition)

    return Case(
        make,
        lambda a, x, c: reference.autoregressive(params_of(a, c), pair.forward, x),
        lambda a, y, c: reference.autoregressive_inverse(params_of(a, c), pair.inverse, y),
    )


def coupling(pair: Pair) -> Case:
    """A coupling layer whose network takes a condition too."""
    num_params = pair.transformer.num_params

    def make() -> b.Coupling:
        out_shape = (num_params, DIM - KEPT)
        options = {"hidden": HIDDEN, "activation": "tanh", "condition_dim": CONDITION_DIM}
        mlp = MLP(KEPT, out_shape=out_shape, rngs=nnx.Rngs(0), **options)
        return b.Coupling(pair.transformer, mlp)

    def run(scalar: Scalar, arrays: Arrays, x: np.ndarray, condition: np.ndarray) -> tuple:
        inside = part(arrays, "conditioner")

        def network(kept: np.ndarray) -> np.ndarray:
            return reference.mlp(inside, np.append(kept, condition), num_params=num_params)

        return reference.coupling(network, scalar, x, kept=KEPT)

    return Case(make, partial(run, pair.forward), partial(run, pair.inverse))


CASES = {
    "LU": Case(
        lambda: b.LU(DIM),
        lambda arrays, x, _: reference.lu(arrays, x),
        lambda arrays, y, _: reference.lu_inverse(arrays, y),
    ),
}
for _name in ("Affine", "RationalQuadraticSpline"):
    _pair = SCALARS[_name]
    CASES |= {
        f"MADE, {_name}": autoregressive(_pair, MADE, reference.made, None),
        f"ResidualMADE, {_name}": autoregressive(
            _pair, ResidualMADE, reference.residual_made, None
        ),
    }
for _kind, _network in ((MADE, reference.made), (ResidualMADE, reference.residual_made)):
    for _dim, _given in ((None, ""), (CONDITION_DIM, "|condition")):
        CASES[f"{_kind.__name__} of arcsinh, Affine{_given}"] = autoregressive(
            SCALARS["Affine"], _kind, _network, _dim, "arcsinh"
        )
for _name, _pair in SCALARS.items():
    CASES |= {
        f"MADE, {_name}|condition": autoregressive(_pair, MADE, reference.made, CONDITION_DIM),
        f"ResidualMADE, {_name}|condition": autoregressive(
            _pair, ResidualMADE, reference.residual_made, CONDITION_DIM
        ),
        f"Coupling, {_name}|condition": coupling(_pair),
    }


def arrays_of(module: nnx.Module) -> dict[str, np.ndarray]:
    """All arrays of a module by their place in it, as `fl.save` names them."""
    leaves = jax.tree_util.tree_leaves_with_path(module)
    names = [jax.tree_util.keystr(place, simple=True, separator="/") for place, _ in leaves]
    return {
        name.removesuffix("/value"): np.asarray(leaf)
        for name, (_, leaf) in zip(names, leaves, strict=True)
    }


def condition_of(module: nnx.Module, row: int | slice = slice(None)) -> np.ndarray | None:
    """Conditions where the module takes some."""
    return None if module.condition_shape is None else CONDITIONS[row]


def error(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to numbers above one."""
    assert np.all(np.isfinite(expected))
    return float(np.max(np.abs(np.asarray(actual) - expected) / (1 + np.abs(expected))))


def by_reference(
    function: Callable, arrays: Arrays, module: nnx.Module, points: np.ndarray
) -> np.ndarray:
    """Event and log-determinant of every point, (points, dim + 1)."""
    results = []
    for i, point in enumerate(points):
        value, log_det = function(arrays, point, condition_of(module, i))
        results.append(np.append(value, log_det))
    return np.stack(results)


@jax.jit
def by_library(
    module: b.AbstractBijector, points: Array, conditions: Array | None
) -> tuple[Array, Array]:
    """The same by the library, forward and inverse."""
    return tuple(
        jnp.concatenate([value, log_det[:, None]], axis=1)
        for value, log_det in (
            jax.vmap(module.forward_and_log_det)(points, conditions),
            jax.vmap(module.inverse_and_log_det)(points, conditions),
        )
    )


@pytest.mark.parametrize("name", CASES)
def test_layers(name: str):
    """Catches a formula, a mask or an order that differs from the paper's, in either direction.

    The twins: every array, moved by 10⁻⁶ in the reference alone, and a log-determinant of the
    other sign must show.
    """
    case = CASES[name]
    module = randomised(case.make(), scale=0.5)
    arrays = arrays_of(module)
    results = by_library(module, POINTS, condition_of(module))
    for actual, function in zip(results, (case.forward, case.inverse), strict=True):
        expected = by_reference(function, arrays, module, POINTS)
        assert error(actual, expected) < TOLERANCE
        assert error(actual[:, -1], -expected[:, -1]) > 1e-3
    for moved, array in arrays.items():
        other = arrays | {moved: array + 1e-6}
        wrong = by_reference(case.inverse, other, module, POINTS)
        assert error(results[1], wrong) > 10 * TOLERANCE, moved


@pytest.mark.parametrize("name", ["MADE, Affine|condition", "ResidualMADE, Affine"])
def test_another_mask_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch):
    """The twin of `test_layers`: outputs that see their own entry, or inputs a degree too high."""
    case = CASES[name]
    module = randomised(case.make(), scale=0.5)
    actual = by_library(module, POINTS, condition_of(module))[1]
    for shift in (-1, 1):
        with monkeypatch.context() as patch:
            patch.setattr(reference, "degrees", lambda dim, s=shift: np.arange(dim) + 1 + s)
            wrong = by_reference(case.inverse, arrays_of(module), module, POINTS)
        assert error(actual, wrong) > 1e-3


@pytest.mark.parametrize("name", SCALARS)
def test_scalar_maps(name: str):
    """Catches a wrong bin: values on every knot and next to it, in the tails and between.

    The twin, one parameter moved by 10⁻⁶, must show.
    """
    pair = SCALARS[name]
    # A draw of its own: some draws give a parameter next to no weight.
    params = np.random.default_rng(0).normal(scale=1.5, size=pair.transformer.num_params)
    x = np.array([-50.0, -3.1, 3.1, 50.0, 1e6, *np.linspace(-3, 3, 33)])
    if isinstance(pair.transformer, RationalQuadraticSpline):
        for ends in scalars.knots(params, **_spline)[:2]:
            x = np.concatenate([x, ends, np.nextafter(ends, -9), np.nextafter(ends, 9)])
    repeated = jnp.tile(params[:, None], (1, len(x)))
    for method, scalar in (
        (pair.transformer.forward_and_log_det, pair.forward),
        (pair.transformer.inverse_and_log_det, pair.inverse),
    ):
        compiled = jax.jit(method)
        actual = np.stack(compiled(repeated, jnp.asarray(x)), axis=1)
        assert error(actual, np.array([scalar(params, value) for value in x])) < TOLERANCE
        for moved in range(len(params)):
            other = params + 1e-6 * np.eye(len(params))[moved]
            wrong = (
                error(row, np.array(scalar(other, value)))
                for row, value in zip(actual, x, strict=True)
            )
            assert any(difference > 10 * TOLERANCE for difference in wrong), moved


def unordered(arrays: Arrays) -> list[Arrays]:
    """The arrays of two layers, the last one first."""
    layers = part(arrays, "bijector/layers/bijectors")
    return [layer(layers, i) for i in (1, 0)]


def maf(arrays: Arrays) -> list[reference.Layer]:
    """MAF of two layers, each followed by a reversal."""
    return [
        inverse
        for parts in unordered(arrays)
        for inverse in (
            reference.reverse,
            _part_inverse(CASES["MADE of arcsinh, Affine"], parts, "0"),
        )
    ]


def nsf_autoregressive(arrays: Arrays) -> list[reference.Layer]:
    """RQ-NSF (AR) of two layers, each followed by a linear map and a permutation."""
    spline = CASES["ResidualMADE, RationalQuadraticSpline"]
    return [
        inverse
        for parts in unordered(arrays)
        for inverse in (
            partial(reference.permutation_inverse, part(parts, "2")),
            partial(reference.lu_inverse, part(parts, "1")),
            _part_inverse(spline, parts, "0"),
        )
    ]


def _part_inverse(case: Case, arrays: Arrays, name: str) -> reference.Layer:
    return lambda y: case.inverse(part(arrays, name), y, None)


@pytest.mark.parametrize(
    ("inverses", "settings"),
    [
        (maf, {"hidden": HIDDEN}),
        (nsf_autoregressive, {"hidden": (7, 7), **_spline}),
    ],
)
def test_flows(inverses: Callable[[Arrays], list[reference.Layer]], settings: dict):
    """Catches layers in another order, or parameters of one layer in another's place.

    The twin, the layers in the order of the forward direction, must show.
    """
    make = fl.flows.NAMED[inverses.__name__]
    flow = make(dim=DIM, num_layers=2, activation="tanh", rngs=nnx.Rngs(0), **settings)
    flow = randomised(flow, scale=0.5)
    arrays = arrays_of(flow)
    log_prob = jax.jit(lambda flow, x: flow.log_prob(x))
    actual = np.asarray(log_prob(flow, POINTS))
    maps = inverses(arrays)
    assert error(actual, np.array([reference.log_prob(maps, x) for x in POINTS])) < TOLERANCE
    half = len(maps) // 2
    exchanged = [*maps[half:], *maps[:half]]
    wrong = np.array([reference.log_prob(exchanged, x) for x in POINTS])
    assert error(actual, wrong) > 1e-3


def test_the_deep_sigmoid_of_the_reference():
    """Catches a wrong slope in a formula that nothing else checks yet; another's must show."""
    units = {
        "slopes": np.array([0.5, 1.0, 3.0]),
        "offsets": np.array([0.2, -1.0, 0.5]),
        "weights": np.array([0.3, 0.5, 0.2]),
    }

    def inverse(params: np.ndarray, y: float) -> tuple[float, float]:
        return scalars.deep_sigmoid(y, **units)

    forward = scalars.by_bisection(inverse)
    nothing = np.zeros(0)
    for y in np.linspace(-20, 20, 41):
        x, log_slope = inverse(nothing, y)
        assert error(forward(nothing, x), np.array([y, -log_slope])) < TOLERANCE
        step = (inverse(nothing, y + 1e-5)[0] - inverse(nothing, y - 1e-5)[0]) / 2e-5
        assert abs(np.exp(log_slope) / step - 1) < 1e-8
        assert abs(np.exp(log_slope) * units["slopes"][0] / step - 1) > 1e-3
    one = {name: np.ones(1) * (name != "offsets") for name in units}
    assert error(np.array(scalars.deep_sigmoid(1.7, **one)), np.array([1.7, 0.0])) < 1e-15
