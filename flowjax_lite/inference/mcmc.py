"""Independence Metropolis steps: a flow proposes, and what any other sampler finds is kept too."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.core.checks import as_key, check_condition, check_event
from flowjax_lite.core.recipe import known_numbers
from flowjax_lite.distributions import Flow, FlowMixture
from flowjax_lite.distributions.bases.base import AbstractBase
from flowjax_lite.distributions.flow import at_least_default
from flowjax_lite.losses.variational import LogTarget, log_density_of_one


class IndependenceState(NamedTuple):
    """Where a chain stands.

    Attributes:
        position: (*event_shape).
        logdensity: log p of the position, up to a constant.
        log_proposal: log q of the position.
    """

    position: Array
    logdensity: Array
    log_proposal: Array


class IndependenceInfo(NamedTuple):
    """What a step did.

    Attributes:
        acceptance_rate: the probability with which the proposal was accepted.
        is_accepted: whether it was.
    """

    acceptance_rate: Array
    is_accepted: Array


class IndependenceSampler(NamedTuple):
    """Two pure functions, as the algorithms of blackjax have them.

    Attributes:
        init: from a position, and its log-density where that is known, to a state.
        step: from a key and a state to the next state and what the step did.
    """

    init: Callable[..., IndependenceState]
    step: Callable[[Array, IndependenceState], tuple[IndependenceState, IndependenceInfo]]


def independence_step(
    proposal: Flow | FlowMixture | AbstractBase,
    log_target: LogTarget,
    condition: ArrayLike | None = None,
) -> IndependenceSampler:
    """Metropolis–Hastings steps whose proposals are independent samples of a flow q.

        accept x' with probability min(1, p(x') q(x) / (p(x) q(x')))

    Such steps jump between modes, which local samplers do not; local samplers reach what the flow
    has not learned. In turn, they need less of a flow than importance sampling does. A step
    samples and evaluates in one pass and never inverts what it has sampled; only `init` evaluates
    the density of a position that comes from elsewhere.

    A sampler that walks on `latent_log_density(flow, log_target)` is mixed with steps in the same
    space, `independence_step(flow.base, latent_log_density(flow, log_target))`, where nothing is
    ever inverted. Both functions work under `jit`, `scan` and, for parallel chains, `vmap`.

    A log-density that is NaN counts as -inf: such a proposal is rejected.

    Gabrié, Rotskoff and Vanden-Eijnden, 2022, arXiv:2105.12603.

    Args:
        proposal: a flow, a mixture of flows, or a base. Its arrays are constants of the functions.
        log_target: log p of one event, up to a constant: from `event_shape` to a scalar.
        condition: (*condition_shape), one condition of the proposal; log_target takes none.

    Returns:
        `init(position, logdensity=None)` and `step(key, state)`, of one chain.

    Raises:
        TypeError: the proposal is none, or a condition is missing; and, where a function is called,
            log_target returns no floating-point number.
        ValueError: the condition has the wrong shape, or none is taken; and, where a function is
            called, the position has the wrong shape, its log-density is NaN, or log_target
            returns an array with axes.

    Example:
        >>> import jax, jax.numpy as jnp, flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> sampler = fl.inference.independence_step(flow, lambda x: -(x**4).sum())
        >>> states = jax.vmap(sampler.init)(jnp.zeros((4, 2)))  # four chains
        >>> def step(states, keys):
        ...     states, _ = jax.vmap(sampler.step)(keys, states)
        ...     return states, states.position
        >>> _, x = jax.lax.scan(step, states, jax.random.split(jax.random.key(0), (100, 4)))
        >>> x.shape
        (100, 4, 2)
    """
    if not isinstance(proposal, Flow | FlowMixture | AbstractBase):
        raise TypeError(
            f"proposal is a {type(proposal).__name__}; expected a Flow, a FlowMixture, or a base "
            f"such as flow.base"
        )
    condition = check_condition(condition, proposal.condition_shape)
    log_density = log_density_of_one(log_target, proposal.event_shape)

    def init(position: ArrayLike, logdensity: ArrayLike | None = None) -> IndependenceState:
        x = at_least_default(check_event(position, proposal.event_shape, "position"))
        log_p = log_density(x) if logdensity is None else jnp.asarray(logdensity)
        known = known_numbers(log_p)
        if known is not None and np.isnan(known):
            raise ValueError(
                "the log-density of the position is NaN; start where log_target is a number"
            )
        return IndependenceState(x, log_p, proposal.log_prob(x, condition))

    def step(key: Array, state: IndependenceState) -> tuple[IndependenceState, IndependenceInfo]:
        sample_key, accept_key = jax.random.split(as_key(key))
        if isinstance(proposal, AbstractBase):
            x = proposal.sample(sample_key, condition)
            log_q = proposal.log_prob(x, condition)
        else:
            x, log_q = proposal.sample_and_log_prob(sample_key, (), condition)
        new = IndependenceState(x, log_density(x), log_q)
        new_weight, weight = _log_weight(new), _log_weight(state)
        rate = jnp.where(
            new_weight == -jnp.inf, 0.0, jnp.exp(jnp.minimum(new_weight - weight, 0.0))
        )
        accepted = jax.random.uniform(accept_key, dtype=rate.dtype) < rate
        chosen = jax.tree.map(functools.partial(jnp.where, accepted), new, state)
        return chosen, IndependenceInfo(rate, accepted)

    return IndependenceSampler(init, step)


def _log_weight(state: IndependenceState) -> Array:
    """log p - log q of a position: -inf where p is 0 or anything is NaN, so that all move away."""
    log_weight = state.logdensity - state.log_proposal
    return jnp.where(jnp.isnan(log_weight), -jnp.inf, log_weight)
