"""The target of a sampler where a flow has learned the likelihood."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.core.checks import check_batch
from flowjax_lite.distributions import AbstractBase, Density
from flowjax_lite.distributions.density import as_density


def likelihood_target(
    flow: Density, prior: Density | AbstractBase, observation: ArrayLike
) -> Callable[[Array], Array]:
    """The log-density of theta, up to a constant, from a learned likelihood: for any sampler.

        log p(theta) + Σ_i log q(x_i | theta)

    The flow is one of x given theta, `fit(flow, x, condition=theta)`. Where the prior ends, give
    `latent_log_density(Domains(...), likelihood_target(...))` to a sampler that follows gradients.
    A learned likelihood may have bridges of density between its modes and none of the right
    weight: begin chains with draws of the prior that are resampled by this density.

    NLE: Papamakarios, Sterratt and Murray, 2019, arXiv:1805.07226.

    Args:
        flow: the density of x given theta: a flow, or a mixture of flows. Its arrays are constants
            of the function.
        prior: of theta.
        observation: (*event_shape), one x; or (number, *event_shape), independent ones of the same
            theta.

    Returns:
        A function from one theta to a scalar in nats; -inf where the prior has no density.

    Raises:
        TypeError: the observation is not floating-point, or the prior is none.
        ValueError: the observation has another shape, or is not finite; the flow takes no
            condition, or theta of another shape than the prior.

    Example:
        >>> import jax.numpy as jnp, flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.maf(dim=2, condition_dim=1, num_layers=1, rngs=nnx.Rngs(0))
        >>> prior = fl.distributions.Uniform(1)
        >>> log_p = fl.inference.likelihood_target(flow, prior, [0.2, -0.1])
        >>> bool(log_p(jnp.array([2.0])) == -jnp.inf)
        True
    """
    density = as_density(prior)
    if flow.condition_shape != density.event_shape:
        raise ValueError(
            f"the prior has events of shape {density.event_shape}, and the flow conditions of "
            f"shape {flow.condition_shape}; expected a flow of x given theta, trained by "
            f"fit(flow, x, condition=theta)"
        )
    x = check_batch(jnp.asarray(observation), flow.event_shape, "observation")
    x = x.reshape(-1, *flow.event_shape)
    if not np.isfinite(x).all():
        raise ValueError(f"observation is {observation}; expected finite numbers")

    def log_density(theta: Array) -> Array:
        log_prior = density.log_prob(theta)
        inside = log_prior > -jnp.inf
        log_likelihood: Any = jnp.sum(flow.log_prob(x, theta))
        # Outside neither the value nor the gradient may be what the flow makes of nonsense.
        return jax.lax.select(inside, log_prior + log_likelihood, log_prior)

    return log_density
