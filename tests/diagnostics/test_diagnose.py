"""The report on a flow's numbers, and the estimated error of a solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.continuous import AbstractDynamics, ContinuousFlow, Solver, with_solver
from flowjax_lite.diagnostics import solver_error
from flowjax_lite.distributions import Flow, StandardNormal


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
    assert report.log_det_error < 1e-5 and 1 < report.condition_number < 1e3
    assert report.solver is None and "solve" not in str(report)
    with pytest.raises(ValueError, match="no ContinuousFlow"):
        solver_error(flow, jnp.zeros((1, 2)))


@pytest.mark.parametrize("shape", [(0, 2), (2,), (3, 1, 2)])
def test_what_is_no_list_of_rows(shape):
    """Catches an IndexError for no rows, and a report on entries taken for rows."""
    flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(4,), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"diagnose expects \(rows, 2\) with at least one row"):
        fl.diagnose(flow, jnp.zeros(shape))


class Halved(fl.bijectors.AbstractBijector):
    """A map whose log-determinant is that of a quarter of it."""

    def __init__(self) -> None:
        self.event_shape, self.condition_shape = (2,), None

    def forward_and_log_det(self, x, condition=None, key=None):
        return x * jnp.array([1e3, 0.1]), jnp.log(25.0)

    def inverse_and_log_det(self, y, condition=None, key=None):
        return y / jnp.array([1e3, 0.1]), -jnp.log(25.0)


def test_a_wrong_log_determinant_is_measured():
    """Catches a density that does not integrate to one, and digits lost to the conditioning."""
    report = fl.diagnose(Flow(StandardNormal(2), Halved()), jnp.ones((3, 2)))
    assert report.log_det_error == pytest.approx(np.log(4), rel=1e-5)
    assert report.condition_number == pytest.approx(1e4, rel=1e-4)
    assert report.num_jacobians == 3
    assert "log-determinant less autodiff's, nats  1.4e+00" in str(report)


def test_large_events_have_few_jacobians():
    """Catches a report that takes all memory."""
    flow = Flow(StandardNormal(600), fl.bijectors.Scale(600))
    report = fl.diagnose(flow, jnp.ones((3, 600)))
    assert report.num_jacobians == 2
    assert report.log_det_error < 1e-3


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
