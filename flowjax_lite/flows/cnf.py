"""A continuous flow to be trained by flow matching, without solving its equation."""

from flax import nnx

from flowjax_lite.bijectors import AbstractBijector
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.continuous import ResidualDynamics, Solver
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions import AbstractBase, Flow
from flowjax_lite.flows.ode import ode_stack


@remembers_recipe
def cnf(
    *,
    dim: int,
    condition_dim: int | None = None,
    num_layers: int = 1,
    hidden: tuple[int, ...] = (64, 64, 64),
    num_frequencies: int = 3,
    activation: str | Activation = "silu",
    divergence: str = "hutchinson",
    num_probes: int = 1,
    method: str = "tsit5",
    rtol: float = 1e-7,
    atol: float = 1e-7,
    num_steps: int | None = None,
    max_steps: int = 256,
    adjoint: str = "replay",
    base: AbstractBase | None = None,
    data_map: AbstractBijector | None = None,
    condition_map: AbstractBijector | None = None,
    gradient: str = "store",
    compute_dtype: str = "float32",
    rngs: nnx.Rngs,
) -> Flow:
    """A residual network of the event and of sines of the time, for training by `flow_matching`.

    Flow matching needs a single equation, `num_layers=1`; densities and samples are those of any
    continuous flow. Likelihood trains it as well.

    CNF: Chen, Rubanova, Bettencourt and Duvenaud, 2018, arXiv:1806.07366.
    Flow matching: Lipman, Chen, Ben-Hamu, Nickel and Le, 2023, arXiv:2210.02747.

    Args:
        dim: dimension of an event; 1 is allowed.
        condition_dim: dimension of a condition; None for an unconditional flow.
        num_layers: number of equations solved one after the other, each with its own network.
        hidden: widths of each network's hidden layers, all equal.
        num_frequencies: number of sines, and of cosines, of the time.
        activation: name or function of the networks' nonlinearity, smooth.
        divergence: of the velocity where a key is given, as in training: "exact", "hutchinson"
            or "hutch++".
        num_probes: random probes of an estimate; see `continuous.Hutchinson` and
            `continuous.HutchPlusPlus`.
        method: of the solver; see `continuous.Solver`, also for the following five.
        rtol: relative tolerance of a step. Training by likelihood may do with 1e-5, and take half
            the steps; `continuous.with_solver` then gives the trained flow another.
        atol: absolute tolerance of a step.
        num_steps: steps of a constant size; None adapts them to the tolerances.
        max_steps: an event that needs more steps is NaN.
        adjoint: how gradients are found: "replay", "checkpoint", "backsolve" or "direct".
        base: distribution of the latent; None is a standard normal.
        data_map: fixed bijector from unit scale to the data, such as
            `Standardize.from_data(x)`; None for data already of unit scale.
        condition_map: the same for conditions.
        gradient: what a backward pass keeps of each equation: "store" all that it needs,
            "recompute" its start, "invert" nothing; see `Repeat`.
        compute_dtype: of the networks' products: "float32", "tensorfloat32" or "bfloat16"; see
            `conditioners.check_compute_dtype`. With less than full precision the velocity jumps,
            and solves to tolerances below 1e-5 fail.
        rngs: source of the initial weights.

    Returns:
        The flow, the identity map at initialisation.
    """

    def make_dynamics(rngs: nnx.Rngs) -> ResidualDynamics:
        return ResidualDynamics(
            dim,
            hidden=hidden,
            num_frequencies=num_frequencies,
            condition_dim=condition_dim,
            activation=activation,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )

    solver = Solver(
        method=method,
        rtol=rtol,
        atol=atol,
        num_steps=num_steps,
        max_steps=max_steps,
        adjoint=adjoint,
    )
    return ode_stack(
        make_dynamics,
        dim=dim,
        num_layers=num_layers,
        divergence=divergence,
        num_probes=num_probes,
        solver=solver,
        base=base,
        data_map=data_map,
        condition_map=condition_map,
        gradient=gradient,
        rngs=rngs,
    )
