"""Gradients that take the solver's steps again."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree

from flowjax_lite.continuous import METHODS, ContinuousFlow, MLPDynamics, Solver
from flowjax_lite.continuous.replay import CHUNK

X = np.random.default_rng(0).normal(size=(5, 2))
# The sizes of adaptive steps follow from the state, which two adjoints may treat in two ways; with
# constant ones, derivatives differ by rounding alone.
CONSTANT = Solver(method="heun", num_steps=3)


def score_of(solver: Solver) -> tuple:
    """A function of the parameters, flat, and of one event; and the parameters."""
    dynamics = MLPDynamics(2, hidden=(3,), activation="tanh", rngs=nnx.Rngs(0))
    graph, params = nnx.split(ContinuousFlow(randomised(dynamics, scale=0.7), solver=solver))
    flat, unravel = ravel_pytree(params)

    def score(flat: Array, x: Array) -> Array:
        z, log_det = nnx.merge(graph, unravel(flat)).inverse_and_log_det(x)
        return log_det - 0.5 * jnp.sum(z**2)

    return score, flat


def test_every_mode_agrees_with_diffrax(x64):
    """Catches a second derivative that holds the states of the first fixed."""
    (replayed, flat), (direct, _) = (
        score_of(dataclasses.replace(CONSTANT, adjoint=adjoint)) for adjoint in ("replay", "direct")
    )
    for expected, modes in (
        (jax.grad, (jax.grad, jax.jacfwd)),
        (jax.hessian, (jax.hessian, lambda score: jax.jacrev(jax.jacrev(score)))),
    ):
        diffrax = jax.jit(expected(direct))(flat, jnp.asarray(X[0]))
        assert jnp.all(jnp.any(diffrax != 0, axis=-1))
        for mode in modes:
            ours = jax.jit(mode(replayed))(flat, jnp.asarray(X[0]))
            np.testing.assert_allclose(ours, diffrax, rtol=1e-9, atol=1e-12)


def test_a_batch_has_the_gradients_of_its_events(x64):
    """Catches steps that are dealt out to the wrong event, or a sum over events that is not one."""
    score, flat = score_of(Solver(method="bosh3", rtol=1e-3, atol=1e-6))
    x = jnp.asarray(X) * jnp.array([[0.1], [1.0], [3.0], [10.0], [0.0]])  # of one to many steps
    one_by_one = jnp.stack([jax.jit(jax.grad(score))(flat, event) for event in x])
    each = jax.jit(jax.vmap(jax.grad(score), (None, 0)))(flat, x)
    np.testing.assert_allclose(each, one_by_one, rtol=1e-9, atol=1e-12)
    total = jax.jit(jax.grad(lambda flat: jax.vmap(score, (None, 0))(flat, x).sum()))(flat)
    np.testing.assert_allclose(total, one_by_one.sum(axis=0), rtol=1e-9)
    models = jnp.stack([flat, 0.5 * flat])
    many = jax.jit(jax.vmap(jax.grad(score), (0, None)))(models, x[1])
    np.testing.assert_allclose(many[0], one_by_one[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("max_steps", [3, 17])
def test_a_failed_event_has_no_gradient_and_spoils_no_other(max_steps: int):
    """Catches states that were never reached, and chunks that do not divide the limit."""
    score, flat = score_of(Solver(max_steps=max_steps))
    flat, x = jnp.asarray(flat, "float32"), jnp.asarray(X, "float32")

    def value(flat: Array, x: Array) -> Array:
        return jnp.nan_to_num(score(flat, x))

    gradient = jax.jit(jax.vmap(jax.grad(value), (None, 0)))
    assert jnp.all(jnp.isfinite(gradient(flat, x.at[1].set(1e30))))
    if max_steps == 17:
        alone = gradient(flat, x)
        np.testing.assert_allclose(gradient(flat, x.at[1].set(1e30))[2], alone[2], rtol=1e-4)
        assert jnp.all(jnp.any(alone != 0, axis=1))


def test_a_batch_makes_no_gradient_for_each_event():
    """Catches a rule of reverse mode, which would sum gradients of all weights over events."""
    dynamics = MLPDynamics(2, hidden=(40, 40), activation="tanh", rngs=nnx.Rngs(0))
    flow = ContinuousFlow(dynamics, solver=Solver(num_steps=2))

    def loss(flow: ContinuousFlow, x: Array) -> Array:
        return jnp.sum(jax.vmap(flow.inverse_and_log_det)(x)[1])

    program = str(jax.make_jaxpr(jax.grad(loss, allow_int=True))(flow, jnp.zeros((77, 2))))
    assert "[40,40]" in program and "[77,40]" in program
    assert "[77,40,40]" not in program


def test_weights_are_not_kept_for_each_step():
    """Catches loops and conditions that keep what each step was given, weights and all."""
    dynamics = MLPDynamics(2, hidden=(64, 64), rngs=nnx.Rngs(0))
    solver = dataclasses.replace(CONSTANT, num_steps=3 * CHUNK)
    graph, params = nnx.split(ContinuousFlow(dynamics, solver=solver))

    def score(params: nnx.State) -> Array:
        return nnx.merge(graph, params).inverse_and_log_det(jnp.ones(2))[1]

    memory = jax.jit(jax.grad(score)).lower(params).compile().memory_analysis()
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    assert memory.temp_size_in_bytes < CHUNK * size


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_its_steps(x64, method: str):
    """Catches coefficients that the replay reads in another way than the solver."""
    solver = Solver(method=method, num_steps=4)
    (score, flat), (other, _) = (
        score_of(dataclasses.replace(solver, adjoint=adjoint)) for adjoint in ("replay", "direct")
    )
    x = jnp.asarray(X[1])
    slope = jax.jit(jax.grad(score))(flat, x)
    np.testing.assert_allclose(slope, jax.jit(jax.grad(other))(flat, x), rtol=1e-9, atol=1e-12)
