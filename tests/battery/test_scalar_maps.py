"""Scalar maps on many points at once: increasing, and one with their inverse and derivative."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from battery.registry import BIJECTORS, TRANSFORMERS, Item
from flax import nnx
from jax import Array

from flowjax_lite.bijectors import Independent
from flowjax_lite.bijectors.elementwise import AbstractElementwise
from flowjax_lite.transformers import AbstractNumericalForward

NUM_POINTS = 10_000  # more than XLA keeps in one loop on the CPU
EVERY = 10  # of them one is brought back, as some inverses are numerical and take long
Direction = Callable[[Array], tuple[Array, Array]]


def directions(item: Item) -> tuple[Direction, Direction] | None:
    """Both directions of a scalar map on (points, dim), entry by entry; None for other modules."""
    module = randomised(item.make(nnx.Rngs(0)))
    match module:
        case Independent(transformer=transformer):
            if module.condition_shape is not None:
                return None
            params = module.params()
            pair = transformer.forward_and_log_det, transformer.inverse_and_log_det
            forward, inverse = (jax.vmap(jax.tree_util.Partial(f, params)) for f in pair)
        case AbstractElementwise():
            forward, inverse = (jax.vmap(f) for f in (module._forward, module._inverse))
        case _:
            return None

    def whole(function: Direction) -> Direction:
        def apply(x: Array) -> tuple[Array, Array]:
            value, log_det = function(x)
            return value, jnp.broadcast_to(
                log_det.reshape(len(x), -1) if log_det.ndim < 2 else log_det, x.shape
            )

        return apply

    return whole(forward), whole(inverse)


ITEMS = {
    name: item for name, item in (TRANSFORMERS | BIJECTORS).items() if directions(item) is not None
}


def points(item: Item, number: int, dim: int) -> np.ndarray:
    """The same points, in order, for every entry."""
    return np.tile(np.linspace(item.latent.low, item.latent.high, number)[:, None], dim)


def incongruence(
    forward: Direction, inverse: Direction, x: np.ndarray, period: float | None
) -> dict:
    """What is not as it is for one increasing map, its inverse and its log-derivative."""
    y, log_det = jax.jit(forward)(jnp.asarray(x))
    back, back_log_det = jax.jit(inverse)(y[::EVERY])
    slope, image = np.exp(log_det), np.asarray(y)
    if period is not None:
        image = np.unwrap(image, axis=0, period=period)
    area = np.cumsum(0.5 * (slope[1:] + slope[:-1]) * np.diff(x, axis=0), axis=0)
    rise = np.diff(image, axis=0)
    return {
        "falls": np.max(-rise * np.sign(rise.sum(axis=0))),
        "area": np.max(np.abs(area - np.abs(image[1:] - image[0])) / np.abs(area[-1])),
        "round trip": np.max(np.abs(back - x[::EVERY])),
        "log-dets": np.max(np.abs(log_det[::EVERY] + back_log_det)),
    }


def limits(item: Item) -> dict[str, float]:
    """What rounding and sums of 10,000 terms may do; piecewise constant slopes jump."""
    tolerance = 1e-9 * item.tolerance
    return {"falls": 0.0, "area": 1e-3, "round trip": tolerance, "log-dets": tolerance}


@pytest.mark.parametrize("name", ITEMS)
def test_map_inverse_and_derivative_are_one(name: str, x64: None):
    """Catches a map that falls, or a log-derivative that is not that of the map."""
    item = ITEMS[name]
    forward, inverse = directions(item)
    dim = item.make(nnx.Rngs(0)).event_shape[0]
    period = 2 * np.pi if name == "CircularSpline" else None
    got = incongruence(forward, inverse, points(item, NUM_POINTS, dim), period)
    for what, limit in limits(item).items():
        assert got[what] <= limit, f"{what}: {got[what]:.2g} of at most {limit:.2g}"


@pytest.mark.parametrize(
    ("what", "flaw"),
    [
        ("falls", lambda x: x - 2e-3 * jnp.sin(1e3 * x)),
        ("area", lambda x: 1.01 * x),
    ],
)
def test_flaws_are_noticed(what: str, flaw: Callable[[Array], Array], x64: None):
    """The twin: a small wave, and a slope that is one in a hundred off, must be found."""
    same = lambda x: (x, jnp.zeros_like(x))  # noqa: E731
    x = np.linspace(-2.5, 2.5, NUM_POINTS)[:, None]
    got = incongruence(lambda x: (flaw(x), jnp.zeros_like(x)), same, x, None)
    assert got[what] > 1e-5 if what == "falls" else got[what] > 1e-3


def differences(sizes: tuple[int, ...], few: int = 50) -> dict[str, float]:
    """How far many points in one program are from the same points, a few at a time, unoptimised.

    A number that is no number where the other is one counts as infinite. A forward direction that
    is numerical is left out: it finds the root of the other one, and takes long to compile.
    """
    worst = {}
    for name, item in ITEMS.items():
        module = item.make(nnx.Rngs(0))
        numerical = isinstance(getattr(module, "transformer", None), AbstractNumericalForward)
        for forward, function in zip((True, False), directions(item), strict=True):
            if forward and numerical:
                continue
            run, domain = jax.jit(function), item.latent if forward else item.data
            plain = jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})
            for size in sizes:
                x = np.linspace(domain.low, domain.high, size, dtype=np.float32)[:, None]
                x = np.tile(x, module.event_shape[0])
                parts = [plain(x[i : i + few]) for i in range(0, size, few)]
                for many, part in zip(run(x), zip(*parts, strict=True), strict=True):
                    a, b = np.asarray(many), np.concatenate(part)
                    gap = np.abs(a - b) / (1 + np.abs(b))
                    gap = np.where(np.isnan(a) & np.isnan(b), 0.0, np.nan_to_num(gap, nan=np.inf))
                    worst[name] = max(worst.get(name, 0.0), gap.max())
    return worst


@pytest.mark.slow
def test_optimised_programs_of_many_points_are_right():
    """Catches a program that XLA optimises into a wrong one, above 2048 points on the CPU.

    The tests themselves run in programs that are not optimised, so this is another process.
    """
    root = Path(__file__).parents[2]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment["PYTHONPATH"] = os.pathsep.join([str(root), str(root / "tests")])
    code = (
        "from battery.test_scalar_maps import differences; "
        "bad = {k: v for k, v in differences((2_100, 4_000)).items() if not v < 1e-3}; "
        "assert not bad, bad"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
