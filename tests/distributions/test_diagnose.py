"""The report on a flow's numbers, and the estimated error of a solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from measure import randomised

import flowjax_lite as fl
from flowjax_lite.continuous import AbstractDynamics, ContinuousFlow, Solver, with_solver
from flowjax_lite.distributions import Flow, StandardNormal, solver_error


class Explosion(AbstractDynamics):
    """dx/dt = -x²: back in time, x = 2 reaches infinity before the latent side."""

    def __init__(self) -> None:
        self.event_shape = (1,)
        self.condition_shape = None

    def __call__(self, time, x, condition=None):
        return -(x**2)


def test_failed_solves_are_named():
    """Catches a failed solve that leaves a plausible number, or that a report keeps quiet about."""
    bijector = ContinuousFlow(Explosion(), solver=Solver(max_steps=40))
    x = jnp.array([[0.5], [2.0], [-0.5], [3.0]])
    report = fl.diagnose(Flow(StandardNormal(1), bijector), x)
    assert report.solver.failed.tolist() == report.not_finite.tolist() == [1, 3]
    text = str(report)
    assert "solves failed" in text and "2: rows 1, 3" in text
    assert "max_steps=40" in text and "with_solver" in text
    assert report.round_trip < 1e-3


def test_a_healthy_flow():
    """Catches rows that are named for nothing, and a discrete flow that is asked for its solver."""
    flow = randomised(fl.flows.realnvp(dim=2, num_layers=2, hidden=(4,), rngs=nnx.Rngs(0)))
    report = fl.diagnose(flow, jax.random.normal(jax.random.key(0), (10, 2)))
    assert report.num_rows == 10 and not report.not_finite.size and report.round_trip < 1e-5
    assert report.solver is None and "solve" not in str(report)
    with pytest.raises(ValueError, match="no ContinuousFlow"):
        solver_error(flow, jnp.zeros((1, 2)))


@pytest.mark.parametrize(
    "settings", [{"rtol": 1e-3, "atol": 1e-3}, {"method": "midpoint", "num_steps": 8}]
)
def test_solver_error_is_of_the_right_size(x64, settings: dict):
    """Catches an estimate that is far from the error against a sharp solve."""
    flow = fl.flows.ffjord(dim=2, condition_dim=1, hidden=(16, 16), rngs=nnx.Rngs(0))
    flow = with_solver(randomised(flow, scale=1.5), **settings)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(50, 2)))
    condition = jnp.ones(1)
    sharp = with_solver(flow, method="dopri8", rtol=1e-10, atol=1e-10, num_steps=None)
    error = np.abs(flow.log_prob(x, condition) - sharp.log_prob(x, condition))
    estimate = np.asarray(solver_error(flow, x, condition))
    assert error.mean() > 1e-5
    assert 0.3 < estimate.mean() / error.mean() < 4
