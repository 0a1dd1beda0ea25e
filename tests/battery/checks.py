"""The battery: what must hold for everything that `registry` lists."""

import re
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.functions import functions_of
from battery.measure import (
    EXTREME,
    FAR,
    INFINITE,
    MINUS,
    MISSING,
    ORDINARY,
    OUTSIDE,
    PLUS,
    STEP,
    Measured,
)
from battery.registry import REAL
from flax import nnx

from flowjax_lite.bijectors import AbstractBijector
from flowjax_lite.distributions import AbstractBase, Flow, FlowMixture
from flowjax_lite.io import load, save

# Relative to each number: what a numerical inverse promises far out.
FAR_TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def agree(actual: np.ndarray, expected: np.ndarray, tolerance: float, what: str) -> None:
    """Compare relative to the largest number at stake, and at least absolutely."""
    size = 1 + np.max(np.abs(expected), initial=0.0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * size, err_msg=what)


def check_round_trip(m: Measured) -> None:
    """Catches an inverse of another map than the forward direction's, in either order."""
    for name, f in m.maps.items():
        agree(f.back[ORDINARY], f.value[ORDINARY], m.tolerance, name)


def check_far_round_trip(m: Measured) -> None:
    """Catches a numerical inverse that stops early, or whose bracket is too small, far out."""
    if not m.item.latent == m.item.data == REAL:
        return
    tolerance = FAR_TOLERANCE[m.dtype] * m.item.tolerance
    for name, f in m.maps.items():
        value, back = f.value[FAR], f.back[FAR]
        np.testing.assert_allclose(back, value, rtol=tolerance, atol=0, err_msg=name)
        agree(f.back_log_det[FAR], -f.log_det[FAR], tolerance, name)


def check_log_det(m: Measured) -> None:
    """Catches a log-determinant that is not the Jacobian's: a sign, a scale, a missing term."""
    for name, f in m.maps.items():
        if f.jacobian is None:
            continue
        _, expected = np.linalg.slogdet(f.jacobian[ORDINARY].astype(float))
        agree(f.log_det[ORDINARY], expected, m.tolerance, name)


def check_log_dets_cancel(m: Measured) -> None:
    """Catches directions that disagree about the volume."""
    for name, f in m.maps.items():
        agree(f.back_log_det[ORDINARY], -f.log_det[ORDINARY], m.tolerance, name)


def check_eager(m: Measured) -> None:
    """Catches a result that depends on `jit`, or on `vmap`."""
    functions = functions_of(m.module)
    for name, f in m.scores.items():

        def score(value: jax.Array) -> jax.Array:
            return functions[name](value, m.condition).score  # noqa: B023

        agree(jax.vmap(score)(f.value[ORDINARY]), f.score[ORDINARY], m.tolerance, name)


def check_gradient(m: Measured) -> None:
    """Catches wrong derivatives by value, condition or parameter, in reverse or forward mode."""
    for name, s in m.scores.items():
        assert np.all(np.isfinite(s.gradient[ORDINARY])), name
        if m.dtype == "float64":
            step = (s.score[PLUS] - s.score[MINUS]) / (2 * STEP)
            agree(s.gradient[0] @ m.direction, step, 1e-7, f"{name} against finite differences")
        if s.slope is not None:
            by_value, along = s.slope[ORDINARY, : m.dim], s.slope[ORDINARY, m.dim]
            agree(by_value, s.gradient[ORDINARY, : m.dim], m.tolerance, name)
            agree(along, s.gradient[ORDINARY] @ m.direction, m.tolerance, name)


def check_curvature(m: Measured) -> None:
    """Catches second derivatives that are not finite, not symmetric or not the gradient's."""
    for name, s in m.scores.items():
        assert np.all(np.isfinite(s.curvature[ORDINARY])), name
        by_value, along = s.curvature[ORDINARY, : m.dim], s.curvature[ORDINARY, m.dim]
        hessian = by_value[:, :, : m.dim]
        agree(hessian, np.swapaxes(hessian, 1, 2), m.tolerance, name)
        agree(along[:, : m.dim], by_value @ m.direction, m.tolerance, name)
        step = (s.gradient[PLUS] - s.gradient[MINUS]) / (2 * STEP)
        agree(along[0], step, 1e-7, f"{name} against finite differences")


def check_every_parameter_matters(m: Measured) -> None:
    """Catches a parameter that is cut off from the result."""
    for name, s in m.scores.items():
        for param, place in m.params.items():
            # The first entry of an autoregressive layer has nothing before it to look at.
            if place.start < place.stop and m.dim > 1:
                assert np.any(s.gradient[ORDINARY, place] != 0), f"{name}: {param}"


def check_condition_matters(m: Measured) -> None:
    """Catches a condition, or one entry of it, that is accepted and ignored."""
    for name, s in m.scores.items():
        by_condition = s.gradient[ORDINARY, m.dim : m.dim + m.condition.size]
        assert np.all(np.any(by_condition != 0, axis=0)), name


def check_extremes(m: Measured) -> None:
    """Catches NaN, and infinite log-determinants, at values far out or at a domain's edge."""
    for name, f in m.maps.items():
        assert np.all(np.isfinite(f.log_det[EXTREME])), name
        assert not np.any(np.isnan(f.output[EXTREME])), name
        if f.jacobian is None:
            continue
        for numbers in (f.jacobian, f.log_det_slope):
            assert not np.any(np.isnan(numbers[EXTREME])), name
        if f.curvature is not None:
            continue  # along all inputs at once, ±inf meets tangents that are zero
        mixed = f.jacobian[ORDINARY][:, ~np.eye(f.value.shape[1], dtype=bool)]
        if mixed.size and np.all(mixed == 0):
            for numbers in (f.output, f.log_det, f.jacobian, f.log_det_slope):
                assert not np.any(np.isnan(numbers[INFINITE])), f"{name} at ±inf"
    for name, s in m.scores.items():
        assert not np.any(np.isnan(s.gradient[EXTREME])), name


def check_outside(m: Measured) -> None:
    """Catches a point without an image whose density is not 0, or that leaves NaN behind."""
    for name, f in m.maps.items():
        if (m.item.latent if name == "forward" else m.item.data).outside is None:
            continue
        np.testing.assert_array_equal(f.log_det[OUTSIDE], -np.inf, err_msg=name)
        assert np.all(np.isfinite(f.output[OUTSIDE])), name
        assert np.isnan(f.output[MISSING]).any() and np.isnan(f.log_det[MISSING]), name
        np.testing.assert_array_equal(m.scores[name].score[OUTSIDE], -np.inf, err_msg=name)
        assert np.all(np.isfinite(m.scores[name].gradient[OUTSIDE])), name


def entry_points(module: nnx.Module) -> dict[str, Callable]:
    """The public functions of (value, condition), by the name of their first argument."""
    match module:
        case AbstractBijector():
            return {"x": module.forward_and_log_det, "y": module.inverse_and_log_det}
        case AbstractBase():
            return {"z": module.log_prob}
        case Flow() | FlowMixture():
            return {"x": module.log_prob}
    return {"x": module}


def check_mistakes_are_named(m: Measured) -> None:
    """Catches an argument of the wrong shape or dtype that is used, or refused without a word."""
    dim, condition = m.dim, m.condition
    good = jnp.zeros(dim, m.dtype)
    for argument, function in entry_points(m.module).items():

        def refuses(value: object, condition: object, error: type, message: str) -> None:
            with pytest.raises(error, match=message):
                jax.eval_shape(function, value, condition)  # noqa: B023

        jax.eval_shape(function, good, condition)
        shape = rf"{argument} has shape \({dim + 1},\).*{dim}"
        refuses(jnp.zeros(dim + 1, m.dtype), condition, ValueError, shape)
        refuses(jnp.zeros((), m.dtype), condition, ValueError, rf"{argument} has shape \(\)")
        for dtype in (int, complex):
            what = f"{argument} has dtype {dtype.__name__}.*floating"
            refuses(jnp.zeros(dim, dtype), condition, TypeError, what)
        if condition is None:
            refuses(good, jnp.zeros(1, m.dtype), ValueError, "condition was given.*leave it out")
        else:
            shape = rf"condition has shape \(5,\).*{re.escape(str(condition.shape))}"
            refuses(good, jnp.zeros(5, m.dtype), ValueError, shape)
            refuses(good, None, TypeError, "condition is missing.*condition_dim")
            refuses(good, jnp.zeros(condition.shape, int), TypeError, "condition has dtype int")


def check_equal_configurations_share_code(m: Measured) -> None:
    """Catches structures that differ, such as fresh functions or seeds kept in attributes."""
    again = m.item.make(nnx.Rngs(1))
    assert jax.tree.structure(again) == jax.tree.structure(m.module)
    assert nnx.graphdef(again) == nnx.graphdef(m.module)
    chex.clear_trace_counter()
    # The number is what chex counts by, where a module has no arrays.
    trace = jax.jit(chex.assert_max_traces(lambda module, number: number, n=1))
    for module in (m.module, again):
        jax.eval_shape(trace, module, 0.0)


def check_save_and_load(m: Measured) -> None:
    """Catches a part that a file cannot rebuild, or that comes back with other settings or bits."""
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        path = Path(directory) / "model.safetensors"
        save(path, m.module)
        assert not said, said[0].message
        loaded = load(path)
    assert nnx.graphdef(loaded) == nnx.graphdef(m.module)
    assert jax.tree.structure(loaded) == jax.tree.structure(m.module)
    for one, other in zip(jax.tree.leaves(loaded), jax.tree.leaves(m.module), strict=True):
        assert one.dtype == other.dtype and one.weak_type == other.weak_type
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


MAP_CHECKS = (check_round_trip, check_far_round_trip, check_log_det, check_log_dets_cancel)
CHECKS = (
    *MAP_CHECKS,
    check_eager,
    check_gradient,
    check_curvature,
    check_every_parameter_matters,
    check_condition_matters,
    check_extremes,
    check_outside,
    check_mistakes_are_named,
    check_equal_configurations_share_code,
    check_save_and_load,
)
