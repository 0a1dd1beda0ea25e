"""What training minimises."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from flowjax_lite.distributions import Flow
from flowjax_lite.distributions.statistics import replace_weightless

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
        weights: (rows,), not negative; a row of weight zero has no influence, whatever it holds.
            None weighs all rows alike.
        key: randomness for stochastic log-determinants; None asks for exact ones.

    Returns:
        A scalar, the weighted mean over rows.
    """
    if weights is not None:
        x, condition = replace_weightless(weights, x, condition)
    return weighted_mean(-flow.log_prob(x, condition, key), weights)


def weighted_mean(losses: Array, weights: Array | None) -> Array:
    """The mean of (rows,)."""
    if weights is None:
        return jnp.mean(losses)
    return jnp.sum(weights * losses) / jnp.sum(weights)
