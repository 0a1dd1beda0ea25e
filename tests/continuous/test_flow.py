"""Flows along a differential equation, against the equations that have solutions."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array
from jax.scipy.linalg import expm

from flowjax_lite.continuous import (
    AbstractDynamics,
    ConcatSquash,
    ContinuousFlow,
    Hutchinson,
    MLPDynamics,
    Solver,
)

MATRIX = np.array([[0.3, -1.2, 0.1], [0.9, -0.4, 0.5], [0.0, 0.7, 0.2]])
SHARP = Solver(rtol=1e-10, atol=1e-10)


class Linear(AbstractDynamics):
    """dx/dt = A x, whose flow is the matrix exponential of A."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = nnx.Param(jnp.asarray(matrix))
        self.event_shape = (len(matrix),)
        self.condition_shape = None

    def __call__(self, time: Array, x: Array, condition: Array | None = None) -> Array:
        return jnp.matmul(self.matrix[...], x, precision="highest")


class Explosion(Linear):
    """dx/dt = x², which reaches infinity at time 1/x(0)."""

    def __call__(self, time: Array, x: Array, condition: Array | None = None) -> Array:
        return x**2


@pytest.fixture(scope="module")
def small() -> ContinuousFlow:
    """A small flow that moves."""
    dynamics = MLPDynamics(3, hidden=(8,), activation="tanh", rngs=nnx.Rngs(0))
    return ContinuousFlow(randomised(dynamics, scale=0.5))


def test_linear_dynamics_are_the_matrix_exponential(x64):
    """Catches a wrong sense of time, sign of the log-determinant, or sloppy tolerances."""
    flow, x = ContinuousFlow(Linear(MATRIX), solver=SHARP), jnp.array([1.0, -2.0, 0.5])
    y, log_det = flow.forward_and_log_det(x)
    np.testing.assert_allclose(y, expm(jnp.asarray(MATRIX)) @ x, atol=1e-8)
    np.testing.assert_allclose(log_det, np.trace(MATRIX), atol=1e-8)
    back, back_log_det = flow.inverse_and_log_det(y)
    np.testing.assert_allclose(back, x, atol=1e-8)
    np.testing.assert_allclose(back_log_det, -np.trace(MATRIX), atol=1e-8)


def test_one_direction_alone(small: ContinuousFlow):
    """Catches `forward` and `inverse` of their own that go another way than with log_det."""
    x = jnp.array([0.3, -0.5, 1.2])
    y, _ = small.forward_and_log_det(x)
    np.testing.assert_allclose(small.forward(x), y, atol=1e-4)
    np.testing.assert_allclose(small.inverse(y), x, atol=1e-4)


def test_trajectory_passes_through_both_ends():
    """Catches times that are taken in another order."""
    flow, x = ContinuousFlow(Linear(MATRIX)), jnp.array([1.0, -2.0, 0.5])
    times = jnp.array([0.0, 0.25, 1.0])
    path = flow.trajectory(x, times)
    expected = [expm(jnp.asarray(MATRIX, "float32") * time) @ x for time in times]
    np.testing.assert_allclose(path, jnp.stack(expected), atol=1e-4)
    np.testing.assert_allclose(flow.trajectory(path[-1], times[::-1]), path[::-1], atol=1e-4)
    np.testing.assert_array_equal(flow.trajectory(x, jnp.array([0.5, 0.5]))[1], x)


@pytest.mark.parametrize("inverse", [False, True])
def test_energies(inverse: bool):
    """Catches integrals with the wrong sign, and a norm that is not the Jacobian's."""
    rotation = np.array([[0.0, -2.0], [2.0, 0.0]])  # |v| = 2 |x|, and |x| stays
    flow = ContinuousFlow(Linear(rotation))
    way = flow.transport(jnp.array([0.6, 0.8]), inverse=inverse, energies=True)
    np.testing.assert_allclose(way.energies.kinetic, 4.0, rtol=1e-4)
    np.testing.assert_allclose(way.energies.jacobian, 8.0, rtol=1e-4)


def test_a_failed_solve_is_nan_in_that_event_alone():
    """Catches a solve that stops early and returns where it was."""
    flow = ContinuousFlow(Explosion(np.eye(1)), solver=Solver(max_steps=64))
    ways = jax.vmap(flow.transport)(jnp.array([[0.5], [2.0], [-1.0], [jnp.nan]]))
    assert ways.succeeded.tolist() == [True, False, True, False]
    np.testing.assert_allclose(ways.value[::2, 0], [1.0, -0.5], rtol=1e-3)
    assert jnp.all(jnp.isnan(ways.value[1::2])) and jnp.all(jnp.isnan(ways.log_det[1::2]))
    ends = jax.vmap(flow.forward)(jnp.array([[0.5], [2.0]]))
    assert jnp.isnan(ends[:, 0]).tolist() == [False, True]
    constant = ContinuousFlow(Explosion(np.eye(1)), solver=Solver(num_steps=16))
    assert not constant.transport(jnp.array([1e9])).succeeded  # overflows within its steps


class Counted(Linear):
    """Linear dynamics that count how often a batch of velocities is evaluated."""

    calls = 0

    def __call__(self, time: Array, x: Array, condition: Array | None = None) -> Array:
        def count(x: np.ndarray) -> np.ndarray:
            Counted.calls += 1
            return x

        x = jax.pure_callback(count, x, x, vmap_method="expand_dims")
        return super().__call__(time, x)


def test_a_bad_row_changes_nothing_of_its_neighbours(small: ContinuousFlow):
    """Catches what all rows of a batch share: a step that has failed in one is paid by all."""
    solver = Solver(method="dopri5", max_steps=20)
    flow, x = ContinuousFlow(Counted(MATRIX), solver=solver), jnp.ones((2, 3))
    jax.vmap(flow.forward)(x.at[0].set(jnp.nan)).block_until_ready()
    assert Counted.calls <= 6 * 20 + 1  # the first slope once; the other six in each step

    x = jnp.asarray(np.random.default_rng(0).normal(size=(16, 3)), jnp.float32)
    run = jax.jit(jax.vmap(lambda x: (*small.forward_and_log_det(x), small.inverse(x))))
    alone, beside = run(x), run(x.at[5].set(jnp.nan))
    for expected, got in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(np.delete(got, 5, 0), np.delete(expected, 5, 0))
        assert jnp.all(jnp.isnan(got[5]))


def test_flow_maps_compose(x64):
    """Catches a time that is not passed on: only of a fixed velocity may times be shifted."""
    x = jnp.array([1.0, -2.0, 0.5])
    fixed = ContinuousFlow(Linear(MATRIX), solver=SHARP)
    moving = ContinuousFlow(
        randomised(MLPDynamics(3, hidden=(8,), activation="tanh", rngs=nnx.Rngs(0)), scale=0.5),
        solver=SHARP,
    )
    for flow in (fixed, moving):
        there = flow.flow_map(flow.flow_map(x, 0.0, 0.3), 0.3, 0.8)
        np.testing.assert_allclose(there, flow.flow_map(x, 0.0, 0.8), atol=1e-8)
        np.testing.assert_allclose(flow.flow_map(there, 0.8, 0.0), x, atol=1e-8)
        np.testing.assert_allclose(flow.flow_map(x, 0, 1), flow.forward(x), atol=1e-12)
    shifted = fixed.flow_map(fixed.flow_map(x, 0.0, 0.3), 0.0, 0.5)
    np.testing.assert_allclose(shifted, fixed.flow_map(x, 0.0, 0.8), atol=1e-8)
    shifted = moving.flow_map(moving.flow_map(x, 0.0, 0.3), 0.0, 0.5)
    assert jnp.max(jnp.abs(shifted - moving.flow_map(x, 0.0, 0.8))) > 1e-4


def test_evaluations_are_counted():
    """Catches a count of steps, or one that leaves out some stages."""
    for method, expected in (("euler", 5), ("midpoint", 10), ("tsit5", 31)):
        solver = Solver(method=method, num_steps=5)
        flow = ContinuousFlow(Linear(MATRIX), solver=solver)
        assert flow.transport(jnp.ones(3)).num_evaluations == expected


def test_a_key_asks_for_an_estimate(small: ContinuousFlow):
    """Catches an estimate where no key is given, and one that changes within a solve."""
    x = jnp.array([0.3, -0.5, 1.2])
    flow = ContinuousFlow(small.dynamics, divergence=Hutchinson())
    _, exact = small.forward_and_log_det(x)
    np.testing.assert_array_equal(flow.forward_and_log_det(x)[1], exact)
    keys = jax.random.split(jax.random.key(0), 500)
    estimates = jax.vmap(lambda key: flow.forward_and_log_det(x, None, key)[1])(keys)
    error = jnp.std(estimates) / np.sqrt(len(keys))
    assert error > 0 and abs(jnp.mean(estimates) - exact) < 4.5 * error
    # The twin: the estimate of another flow's trace is noticed.
    assert abs(jnp.mean(estimates) - exact - 0.5) > 4.5 * error


@pytest.mark.parametrize("adjoint", ["replay", "checkpoint", "backsolve", "direct"])
def test_gradients_agree_with_finite_differences(x64, adjoint: str):
    """Catches an adjoint that loses part of the gradient."""
    dynamics = randomised(ConcatSquash(2, hidden=(4,), rngs=nnx.Rngs(0)), scale=0.5)
    solver = dataclasses.replace(SHARP, adjoint=adjoint)
    graph, params = nnx.split(ContinuousFlow(dynamics, solver=solver))
    flat, unravel = jax.flatten_util.ravel_pytree((params, jnp.array([0.3, -0.5])))

    @jax.jit
    def score(flat: Array) -> Array:
        params, x = unravel(flat)
        z, log_det = nnx.merge(graph, params).inverse_and_log_det(x)
        return log_det - jnp.sum(z**2)

    direction = jnp.asarray(np.random.default_rng(0).normal(size=flat.size))
    slope = (score(flat + 1e-4 * direction) - score(flat - 1e-4 * direction)) / 2e-4
    np.testing.assert_allclose(jax.grad(score)(flat) @ direction, slope, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Solver(rtol=0.0), ValueError, "rtol is 0.0; expected a positive number"),
        (lambda: Solver(atol=-1e-5), ValueError, "atol is -1e-05; expected a positive number"),
        (lambda: Solver(method="rk4"), ValueError, "method is 'rk4'; expected one of 'tsit5'"),
        (lambda: Solver(adjoint="none"), ValueError, "adjoint is 'none'; expected one of"),
        (lambda: Solver(method="euler"), ValueError, "give num_steps"),
        (lambda: Solver(num_steps=0), ValueError, "num_steps is 0"),
        (lambda: Solver(max_steps=1.5), TypeError, "max_steps is 1.5"),
    ],
)
def test_mistakes_are_named(make, error, message):
    """Catches settings that no solver takes."""
    with pytest.raises(error, match=message):
        make()


def test_dynamics_must_keep_the_shape():
    """Catches a velocity that broadcasts against the event."""

    class Flat(Linear):
        def __call__(self, time: Array, x: Array, condition: Array | None = None) -> Array:
            return x[:1]

    with pytest.raises(ValueError, match=r"return shape \(1,\) for an event of shape \(3,\)"):
        ContinuousFlow(Flat(MATRIX))
