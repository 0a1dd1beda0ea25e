"""Continuous flows: events move along a differential equation, whose velocity is a network.

The flows differ in the network and in how they are meant to be trained.
"""

from collections.abc import Callable
from typing import Any, Unpack

from flax import nnx

from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.continuous import (
    AbstractDivergence,
    AbstractDynamics,
    ConcatSquash,
    ContinuousFlow,
    Exact,
    Hutchinson,
    HutchPlusPlus,
    MLPDynamics,
    ResidualDynamics,
    Solver,
)
from flowjax_lite.core.checks import check_choice, check_positive_int
from flowjax_lite.distributions import Flow
from flowjax_lite.flows.options import (
    DIVERGENCES,
    SOLVER,
    ContinuousOptions,
    flow_factory,
    without_effect,
)
from flowjax_lite.flows.stacking import stack

_probes_estimate = without_effect(
    "num_probes",
    when=lambda options: options["divergence"] == "exact",
    reason='where divergence is "exact"',
)
_tolerances_adapt = without_effect(
    "rtol",
    "atol",
    "max_steps",
    when=lambda options: options["num_steps"] is not None,
    reason="where num_steps fixes the steps",
)


@_probes_estimate
@_tolerances_adapt
@flow_factory
def ffjord(
    *,
    num_layers: int = 1,
    hidden: tuple[int, ...] = (64, 64, 64),
    activation: str | Activation = "softplus",
    **options: Unpack[ContinuousOptions],
) -> Flow:
    """A free-form velocity, its layers gated by the time: each entry may depend on all.

    Densities and samples each solve a differential equation. In training, where a key is given,
    the trace is estimated; without a key it is exact.

    FFJORD: Grathwohl, Chen, Bettencourt, Sutskever and Duvenaud, 2019, arXiv:1810.01367.
    """
    network = {"hidden": hidden, "activation": activation}
    return _equations(ConcatSquash, network, num_layers, options)


@_probes_estimate
@_tolerances_adapt
@flow_factory
def rnode(
    *,
    num_layers: int = 1,
    hidden: tuple[int, ...] = (64, 64, 64),
    activation: str | Activation = "softplus",
    **options: Unpack[ContinuousOptions],
) -> Flow:
    """A velocity that takes the time as one more input, for training by `regularized_likelihood`.

    The penalties on kinetic energy and Jacobian keep the paths of events short and straight, so
    that a solver needs few steps. The flow itself is one like `ffjord`: what is regularised is
    the loss, `fit(flow, x, loss=fl.regularized_likelihood(), key=key)`.

    RNODE: Finlay, Jacobsen, Nurbekyan and Oberman, 2020, arXiv:2002.02798.
    """
    network = {"hidden": hidden, "activation": activation}
    return _equations(MLPDynamics, network, num_layers, options)


@_probes_estimate
@_tolerances_adapt
@flow_factory
def cnf(
    *,
    num_layers: int = 1,
    hidden: tuple[int, ...] = (64, 64, 64),
    num_frequencies: int = 3,
    activation: str | Activation = "silu",
    **options: Unpack[ContinuousOptions],
) -> Flow:
    """A residual network of the event and of sines of the time, for training by `flow_matching`.

    Flow matching needs a single equation, `num_layers=1`; densities and samples are those of any
    continuous flow. Likelihood trains it as well.

    CNF: Chen, Rubanova, Bettencourt and Duvenaud, 2018, arXiv:1806.07366.
    Flow matching: Lipman, Chen, Ben-Hamu, Nickel and Le, 2023, arXiv:2210.02747.

    Args:
        hidden: widths of each network's hidden layers, all equal.
        num_frequencies: number of sines, and of cosines, of the time.
    """
    network = {"hidden": hidden, "num_frequencies": num_frequencies, "activation": activation}
    return _equations(ResidualDynamics, network, num_layers, options)


def _equations(
    dynamics: Callable[..., AbstractDynamics],
    network: dict[str, Any],
    num_layers: int,
    options: ContinuousOptions,
) -> Flow:
    """Solve an equation with one velocity after the other, and close the flow.

    Args:
        dynamics: the class of each velocity.
        network: what its network has for itself.
        num_layers: number of equations.
        options: those of the flow.
    """
    divergence = _divergence(options["divergence"], options["num_probes"])
    settings: dict[str, Any] = {name: value for name, value in options.items() if name in SOLVER}
    solver = Solver(**settings)

    def make_layer(rngs: nnx.Rngs) -> ContinuousFlow:
        velocity = dynamics(
            options["dim"],
            condition_dim=options["condition_dim"],
            compute_dtype=options["compute_dtype"],
            rngs=rngs,
            **network,
        )
        return ContinuousFlow(velocity, divergence=divergence, solver=solver)

    return stack(make_layer, num_layers, options, order=None)


def _divergence(name: str, num_probes: int) -> AbstractDivergence:
    check_choice(name, DIVERGENCES, "divergence")
    check_positive_int(num_probes, "num_probes")
    if name == "exact":
        return Exact()
    return Hutchinson(num_probes) if name == "hutchinson" else HutchPlusPlus(num_probes)
