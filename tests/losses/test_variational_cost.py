"""What losses on a flow's own samples cost: no sequential pass, and no program compiled twice."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from battery.measure import randomised
from battery.registry import flow as small_flow
from flax import nnx
from jax import Array

import flowjax_lite as fl

KEY = jax.random.key(0)
LAYERS, DIM = 3, 20


def log_target(x: Array) -> Array:
    """A standard normal density, not normalised: one event."""
    return -0.5 * jnp.sum(x**2)


def loops(loss: Callable[..., Array], flow: fl.Flow, *batch: Any) -> set[str]:
    """The lengths of all loops in the program of a loss and its gradient."""
    graph, params, rest = nnx.split(flow, nnx.Param, ...)

    def value_and_gradient(params: Any, *batch: Any) -> Any:
        return jax.value_and_grad(lambda p: loss(nnx.merge(graph, p, rest), *batch))(params)

    program = str(jax.make_jaxpr(value_and_gradient)(params, *batch))
    return set(re.findall(r"length=(\d+)", program)) | set(re.findall(r"while\b", program))


def wide(name: str) -> fl.Flow:
    """A flow of many entries."""
    return fl.flows.NAMED[name](dim=DIM, num_layers=LAYERS, hidden=(24,), rngs=nnx.Rngs(0))


def test_a_student_and_its_teacher_run_in_parallel():
    """Catches an inverse pass: all loops are those over layers; the twins' are over entries."""
    loss, over_layers = fl.distillation(num_samples=4), {str(LAYERS)}
    assert loops(loss, wide("iaf"), KEY, wide("maf")) == over_layers
    assert loops(loss, wide("maf"), KEY, wide("maf")) > over_layers
    assert loops(loss, wide("iaf"), KEY, wide("iaf")) > over_layers


def test_a_pass_of_the_inverse_is_taken_for_the_path_gradient_alone():
    """Catches a sequential density of samples whose latents are known."""
    over_layers = {str(LAYERS)}
    for make in (fl.reverse_kl, fl.importance_weighted):
        assert loops(make(log_target, num_samples=4), wide("iaf"), KEY) == over_layers
    path = fl.reverse_kl(log_target, num_samples=4, path_gradient=True)
    assert loops(path, wide("iaf"), KEY) > over_layers


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (fl.reverse_kl, {"log_target": log_target, "num_samples": 4, "path_gradient": True}),
        (fl.importance_weighted, {"log_target": log_target, "num_samples": 4}),
        (fl.distillation, {"num_samples": 4}),
    ],
)
def test_equal_arguments_give_equal_losses(make: Callable[..., Any], settings: dict[str, Any]):
    """Catches a fresh closure, with which a static argument compiles again; or a lost setting."""
    loss = make(**settings)
    assert loss == make(**settings) and hash(loss) == hash(make(**settings))
    assert dataclasses.asdict(loss) == settings
    for name, other in {"num_samples": 5, "path_gradient": False, "log_target": jnp.sum}.items():
        if name in settings:
            assert make(**settings | {name: other}) != loss


def test_another_teacher_compiles_nothing_and_is_no_constant():
    """Catches a teacher that is compiled into the step, with its arrays as constants."""
    student = small_flow(nnx.Rngs(0), "iaf", 3)
    teachers = [randomised(small_flow(nnx.Rngs(seed), "maf", 3)) for seed in (1, 2)]
    optimizer = optax.sgd(0.1)
    step = fl.make_train_step(fl.distillation(num_samples=8), optimizer)
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(step, n=1))
    state = fl.TrainState.create(student, optimizer)
    losses = [step(state, KEY, teacher)[1] for teacher in teachers]
    assert losses[0] != losses[1]
