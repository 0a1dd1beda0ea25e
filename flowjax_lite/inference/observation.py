"""A flow at one observation: the posterior, what it leaks, and where it is cut off."""

import warnings
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.core.checks import (
    Shape,
    as_key,
    check_batch,
    check_condition,
    check_condition_presence,
    check_positive_int,
)
from flowjax_lite.distributions import AbstractBase, Density
from flowjax_lite.distributions.density import as_density
from flowjax_lite.distributions.flow import sample_shape

_DRAWS = 8192  # of the prior in one pass of rejection: one size, so that nothing compiles twice
_MOST_DRAWS = 2**21  # of the prior to find out how many are accepted
_ENOUGH = 500  # accepted draws that say what part is


@dataclass(frozen=True)
class Posterior:
    """A conditional density at one condition; it has the methods of a `Density` without one.

    Attributes:
        flow: the conditional density.
        observation: the condition, (*condition_shape).
        event_shape: shape of one event.
        condition_shape: None.
    """

    flow: Density
    observation: Array
    event_shape: Shape = field(init=False)
    condition_shape: None = field(default=None, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "event_shape", self.flow.event_shape)

    def log_prob(self, x: ArrayLike, condition: None = None) -> Array:
        """Log-densities, (...), of events (..., *event_shape)."""
        check_condition_presence(condition, None)
        return self.flow.log_prob(x, self.observation)

    def sample(self, key: Array | int, shape: int | Shape = (), condition: None = None) -> Array:
        """Independent samples, (*shape, *event_shape)."""
        check_condition_presence(condition, None)
        return self.flow.sample(key, shape, self.observation)


def posterior(flow: Density, observation: ArrayLike) -> Posterior:
    """The density of theta given one observation, as a distribution without a condition.

    It can be given wherever a prior can: `simulate(posterior(flow, x_o), simulator, 0, 1000)`
    draws from the posterior predictive distribution, to be compared with the observation.

    Args:
        flow: the density of theta given x: a flow, or a mixture of flows.
        observation: (*condition_shape), one x.

    Returns:
        An object with `sample(key, shape)` and `log_prob(theta)`.

    Raises:
        TypeError: the observation is not floating-point.
        ValueError: it has another shape than the flow's conditions, or is not finite; or the flow
            takes none.

    Example:
        >>> import flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.maf(dim=2, condition_dim=1, num_layers=1, rngs=nnx.Rngs(0))
        >>> fl.inference.posterior(flow, [0.5]).sample(0, 100).shape
        (100, 2)
    """
    if flow.condition_shape is None:
        raise ValueError("the flow takes no condition; expected a density of theta given x")
    given = check_condition(jnp.asarray(observation), flow.condition_shape)
    assert given is not None
    if not np.isfinite(given).all():
        raise ValueError(f"observation is {observation}; expected finite numbers")
    return Posterior(flow, given)


def leakage(
    flow: Density,
    prior: Density | AbstractBase,
    observation: ArrayLike,
    *,
    key: Array | int,
    num_samples: int = 10_000,
) -> float:
    """The fraction of the flow's samples to which the prior gives no density.

    A posterior has none of it. A `data_map` such as `Domains` takes it away.

    Args:
        flow: the density of theta given x.
        prior: of theta.
        observation: (*condition_shape), one x.
        key: randomness, or a seed.
        num_samples: samples of the flow.

    Returns:
        From 0 to 1.

    Raises:
        TypeError, ValueError: as `posterior`; or the prior is none, or of other events.
    """
    density = _prior(prior, flow)
    theta = posterior(flow, observation).sample(as_key(key), num_samples)
    return float(np.mean(np.asarray(density.log_prob(theta)) == -np.inf))


@dataclass(frozen=True)
class TruncatedPrior:
    """A prior where a posterior has density, and nothing elsewhere; a `Density`.

    Attributes:
        prior: what is cut off.
        posterior: where it is kept.
        threshold: the log-density of the posterior from which on it is kept.
        acceptance: the estimated part of the prior that is kept.
        event_shape: shape of one event.
        condition_shape: None.
    """

    prior: Density
    posterior: Posterior
    threshold: float
    acceptance: float
    event_shape: Shape = field(init=False)
    condition_shape: None = field(default=None, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "event_shape", self.prior.event_shape)

    def log_prob(self, x: ArrayLike, condition: None = None) -> Array:
        """Log-densities, (...), of events (..., *event_shape); the constant is an estimate."""
        check_condition_presence(condition, None)
        x = check_batch(x, self.event_shape, "x")
        inside = self.posterior.log_prob(x) >= self.threshold
        log_prob = self.prior.log_prob(x) - np.log(self.acceptance)
        return jnp.where(inside, log_prob, -jnp.inf)

    def sample(self, key: Array | int, shape: int | Shape = (), condition: None = None) -> Array:
        """Independent samples, (*shape, *event_shape), by rejection; not within `jit`."""
        check_condition_presence(condition, None)
        key, shape = as_key(key), sample_shape(shape)
        num, kept, step = int(np.prod(shape)), [np.zeros((0, *self.event_shape))], 0
        while sum(map(len, kept)) < num:
            theta, inside = _drawn(self.prior, self.posterior, jax.random.fold_in(key, step))
            kept.append(theta[inside >= self.threshold])
            step += 1
        theta = np.concatenate(kept[1:] or kept)[:num]
        return jnp.asarray(theta.reshape(*shape, *self.event_shape))


def truncated_prior(
    flow: Density,
    prior: Density | AbstractBase,
    observation: ArrayLike,
    *,
    key: Array | int,
    quantile: float = 1e-4,
    num_samples: int = 10_000,
) -> TruncatedPrior:
    """The prior, cut off where the flow gives the observation's posterior next to no density.

    A round of sequential inference simulates from it what matters for one observation. Within
    the region it is proportional to the prior, so that the plain likelihood remains the right loss
    for all rounds together: no weights, no atoms, no leakage.

        theta, x = simulate(prior, simulator, 0, 1000)
        for seed in (1, 2, 3):
            flow = fit(q, theta, condition=x, key=seed).flow
            proposal = truncated_prior(flow, prior, observation, key=seed)
            new_theta, new_x = simulate(proposal, simulator, seed, 1000)
            theta, x = np.concatenate([theta, new_theta]), np.concatenate([x, new_x])

    Such a flow holds for this observation alone.

    TSNPE: Deistler, Gonçalves and Macke, 2022, arXiv:2210.04815, algorithm 1.

    Args:
        flow: the density of theta given x, trained on draws of the prior.
        prior: of theta.
        observation: (*condition_shape), one x.
        key: randomness of the estimates, or a seed.
        quantile: the part of the flow's samples that lies outside the region.
        num_samples: samples of the flow, for the threshold.

    Returns:
        A distribution with `sample(key, shape)`, `log_prob(theta)` and the `acceptance` rate, which
        can be given to `simulate`.

    Raises:
        TypeError, ValueError: as `posterior`; or the prior is none, or of other events; the
            quantile is not between 0 and 1; or no draw of the prior lies within the region.

    Warns:
        RuntimeWarning: the prior draws where the flow has no density at all.
    """
    if not 0 <= quantile < 1:
        raise ValueError(f"quantile is {quantile}; expected a number from 0 to below 1, as 1e-4")
    density, at = _prior(prior, flow), posterior(flow, observation)
    flow_key, key = jax.random.split(as_key(key))
    theta = at.sample(flow_key, check_positive_int(num_samples, "num_samples"))
    log_q = np.asarray(at.log_prob(theta))
    # Samples that are rounded onto the edge of a domain have no density.
    log_q = log_q[np.isfinite(log_q)]
    if len(log_q) < num_samples / 2:
        raise ValueError(
            f"{num_samples - len(log_q)} of {num_samples} of the flow's own samples have no finite "
            f"log-density: see fl.diagnose(flow, theta, x)"
        )
    threshold = float(np.quantile(log_q, quantile, method="lower"))
    accepted = drawn = outside = 0
    while accepted < _ENOUGH and drawn < _MOST_DRAWS:
        _, log_q = _drawn(density, at, jax.random.fold_in(key, drawn))
        accepted, drawn = accepted + int((log_q >= threshold).sum()), drawn + len(log_q)
        outside += int((log_q == -np.inf).sum())
    if not accepted:
        raise ValueError(
            f"none of {drawn:,} draws of the prior lies where the flow has its density: the flow "
            f"is another parameter's, or its data_map keeps it outside of the prior's support"
        )
    if outside:
        warnings.warn(
            f"the flow has no density at {outside / drawn:.2%} of the draws of the prior, which it "
            f"cannot reach: give it a data_map onto the whole support of the prior",
            RuntimeWarning,
            stacklevel=2,
        )
    return TruncatedPrior(density, at, threshold, accepted / drawn)


def _drawn(prior: Density, posterior: Posterior, key: Array) -> tuple[np.ndarray, np.ndarray]:
    """Draws of the prior, and the posterior's log-density of each."""
    theta = prior.sample(key, _DRAWS)
    return np.asarray(theta), np.asarray(posterior.log_prob(theta))


def _prior(prior: Any, flow: Density) -> Density:
    density = as_density(prior)
    if density.event_shape != flow.event_shape:
        raise ValueError(
            f"the prior has events of shape {density.event_shape}, the flow {flow.event_shape}; "
            f"expected two distributions of the same theta"
        )
    return density
