"""What training minimises."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from flowjax_lite.distributions import Flow

# (flow, batch, key) -> scalar.
Loss = Callable[..., Array]


def negative_log_likelihood(
    flow: Flow,
    x: Array,
    condition: Array | None = None,
    weights: Array | None = None,
    key: Array | None = None,
) -> Array:
    """Mean negative log-likelihood, in nats per event.

    Args:
        flow: the model.
        x: (rows, *event_shape).
        condition: (rows, *condition_shape), or None.
        weights: (rows,), not negative; a row of weight zero has no influence. None weighs
            all rows alike.
        key: randomness for stochastic log-determinants; None asks for exact ones.

    Returns:
        A scalar, the weighted mean over rows.
    """
    return weighted_mean(-flow.log_prob(x, condition, key), weights)


def weighted_mean(losses: Array, weights: Array | None) -> Array:
    """The mean of (rows,), in which a row of weight zero may hold anything."""
    if weights is None:
        return jnp.mean(losses)
    # Such a row is removed before the product, not by it.
    return jnp.sum(jnp.where(weights > 0, weights * losses, 0.0)) / jnp.sum(weights)
