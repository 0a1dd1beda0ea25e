"""Everything public is registered, and everything registered passes the battery."""

import inspect
from collections.abc import Callable
from types import ModuleType

import battery.registry as registry
import jax
import numpy as np
import pytest
from battery.checks import (
    CHECKS,
    MAP_CHECKS,
    check_condition_matters,
    check_curvature,
    check_eager,
    check_outside,
    check_save_and_load,
)
from battery.measure import Measured, measure
from flax import nnx

from flowjax_lite import (
    bijectors,
    conditioners,
    continuous,
    distributions,
    flows,
    transformers,
)
from flowjax_lite.flows import IMAGES, NAMED
from flowjax_lite.transformers import AbstractTransformer

SMOKE = (
    "LU",
    "RationalQuadraticSpline",
    "Repeat, invert|condition",
    "MaskedAutoregressive, jacobi|condition",
    "maf(3)",
    "GaussianMixture",
)
INVERTIBLE = registry.TRANSFORMERS | registry.BIJECTORS | registry.CONTINUOUS | registry.FLOWS


def applies(check: Callable[[Measured], None], name: str, dtype: str) -> bool:
    """Whether a check has something to look at."""
    if check in MAP_CHECKS:
        return name in INVERTIBLE
    if check is check_condition_matters:
        return is_conditional(name)
    if check is check_outside:
        return any(side.outside for side in (registry.ALL[name].latent, registry.ALL[name].data))
    if check is check_curvature:
        return registry.ALL[name].second_order and dtype == "float64"
    if check is check_eager:
        return registry.ALL[name].eager and dtype == "float32"  # as most users run it
    if check is check_save_and_load:
        item = registry.ALL[name]
        return item.recorded and dtype == item.dtypes[0]
    return True


def is_conditional(name: str) -> bool:
    """Whether an item takes a condition; items are named so, and a test sees to it."""
    return "condition" in name.lower()


CASES = [
    pytest.param(
        name,
        dtype,
        check,
        id=f"{name}-{dtype}-{check.__name__.removeprefix('check_')}",
        marks=pytest.mark.smoke if name in SMOKE else (),
    )
    for name, item in registry.ALL.items()
    for dtype in item.dtypes
    for check in CHECKS
    if applies(check, name, dtype)
]


@pytest.mark.parametrize(("name", "dtype", "check"), CASES, indirect=["dtype"])
def test_battery(name: str, dtype: np.dtype, check: Callable[[Measured], None]):
    """Catches what the docstring of each check says."""
    check(measure(registry.ALL[name], str(dtype)))


def unregistered(room: ModuleType, items: dict[str, registry.Item]) -> set[str]:
    """Names of the public concrete classes of a room that no item is an instance of.

    Distributions without a density, such as `Dequantized`, have tests of their own.
    """
    built = []
    for name, item in items.items():
        module = jax.eval_shape(lambda make=item.make: make(nnx.Rngs(0)))
        assert (module.condition_shape is not None) == is_conditional(name), name
        if isinstance(module, registry.Flat):
            module = module.bijector
        if isinstance(module, registry.FlatNetwork):
            module = module.network
        built.append(module.transformer if room is transformers else module)
        if room is continuous:
            built.append(module.dynamics)
    public = {name: getattr(room, name) for name in room.__all__}
    return {
        name
        for name, item in public.items()
        if inspect.isclass(item)
        and issubclass(item, nnx.Module | AbstractTransformer)
        and not inspect.isabstract(item)
        and (room is not distributions or hasattr(item, "log_prob"))
        and item not in map(type, built)
    }


ROOMS = [
    (bijectors, registry.BIJECTORS),
    (transformers, registry.TRANSFORMERS),
    (conditioners, registry.CONDITIONERS),
    (continuous, registry.CONTINUOUS),
    (distributions, registry.BASES | registry.FLOWS),
]


@pytest.mark.parametrize(("room", "items"), ROOMS, ids=lambda value: getattr(value, "__name__", ""))
def test_everything_public_is_registered(room: ModuleType, items: dict[str, registry.Item]):
    """Catches a class that is exported and never tested; without its item, one must be found."""
    assert unregistered(room, items) == set()
    name = next(iter(items))
    others = {other: item for other, item in items.items() if not other.startswith(name)}
    assert unregistered(room, others) == {name}


def test_every_architecture_is_named():
    """Catches a factory that is exported and missing in the tables that the registry reads."""
    public = {name: getattr(flows, name) for name in flows.__all__}
    factories = {
        name
        for name, item in public.items()
        if inspect.isfunction(item) and "rngs" in inspect.signature(item).parameters
    }
    assert factories == {*NAMED, *IMAGES, *registry.GENERIC, "dequantizer"}
    for name in factories - {"dequantizer"}:  # of noise, whose condition is an image
        assert any(item.startswith(f"{name}(") for item in registry.FLOWS), name
