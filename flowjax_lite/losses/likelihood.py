"""Likelihood: what `fit` minimises by default, and with a price on the paths of an ODE."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.bijectors.base import condition_of
from flowjax_lite.continuous import ContinuousFlow, transport
from flowjax_lite.core.checks import check_batch, check_condition_batch
from flowjax_lite.core.mesh import by_parts
from flowjax_lite.core.pytree import holds
from flowjax_lite.distributions import Flow
from flowjax_lite.distributions.statistics import replace_weightless

# (flow, batch, key) -> scalar.
Loss = Callable[..., Array]


def negative_log_likelihood(
    flow: Flow,
    x: ArrayLike,
    condition: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    key: Array | int | None = None,
) -> Array:
    """Mean negative log-likelihood, in nats per event.

    Args:
        flow: the model.
        x: (rows, *event_shape).
        condition: (rows, *condition_shape), or None.
        weights: (rows,), not negative; a row of weight zero has no influence, whatever it holds.
            None weighs all rows alike.
        key: randomness for stochastic log-determinants, or a seed; None asks for exact ones.

    Returns:
        A scalar, the weighted mean over rows.

    Raises:
        TypeError: the model has no likelihood in closed form.
    """
    if not hasattr(flow, "log_prob"):
        raise TypeError(
            f"a {type(flow).__name__} has no exact likelihood, but a bound: give its own loss, "
            f"such as losses.bits_per_dim of a Dequantized, or inference.elbo() of a VAE"
        )
    if weights is not None:
        x, condition = replace_weightless(weights, x, condition)
    return weighted_mean(-flow.log_prob(x, condition, key), weights)


def regularized_likelihood(*, kinetic: float = 0.01, jacobian: float = 0.01) -> Loss:
    """Negative log-likelihood with a price on the paths of events, which keeps them straight.

        -log p(x) + kinetic · ∫ |v|² dt + jacobian · ∫ |∂v/∂x|² dt

    A solver follows a straight path in few steps. Without a key, as on the rows that `fit` holds
    out, it is the negative log-likelihood alone.

    RNODE: Finlay, Jacobsen, Nurbekyan and Oberman, 2020, arXiv:2002.02798, equation 8.

    Args:
        kinetic: price of the kinetic energy, in nats; not negative.
        jacobian: price of the Jacobian's squared norm, in nats; not negative.

    Returns:
        A loss for `fit` and `make_train_step`, of a flow with one or several `ContinuousFlow`.
        Equal arguments give equal losses, so nothing compiles twice.

    Raises:
        ValueError: a price is negative or not finite.
    """
    for name, value in (("kinetic", kinetic), ("jacobian", jacobian)):
        if not (0 <= value < math.inf):
            raise ValueError(f"{name} is {value!r}; expected a number of at least 0, such as 0.01")
    return _RegularizedLikelihood(float(kinetic), float(jacobian))


@dataclass(frozen=True)
class _RegularizedLikelihood:
    kinetic: float
    jacobian: float

    def __call__(
        self,
        flow: Flow,
        x: Array,
        condition: Array | None = None,
        weights: Array | None = None,
        key: Array | None = None,
    ) -> Array:
        if not holds(flow, ContinuousFlow):
            raise ValueError(
                "this loss puts a price on the paths through a ContinuousFlow, and the flow holds "
                "none: use negative_log_likelihood, or a flow such as rnode"
            )
        if key is None:
            return negative_log_likelihood(flow, x, condition, weights)
        if weights is not None:
            x, condition = replace_weightless(weights, x, condition)
        x = check_batch(x, flow.event_shape, "x")
        condition = check_condition_batch(condition, flow.condition_shape)

        def loss(flow: Flow, x: Array, condition: Array | None, key: Array) -> Array:
            condition = flow.map_condition(condition)
            bijector, base = flow.bijector, flow.base
            given = condition_of(bijector, condition), key
            path = transport(bijector, x, *given, inverse=True, energies=True)
            log_prob = base.log_prob(path.value, condition_of(base, condition)) + path.log_det
            assert path.energies is not None
            price = self.kinetic * path.energies.kinetic + self.jacobian * path.energies.jacobian
            return price - log_prob

        keys = jax.random.split(key, len(x))
        by_rows = jax.vmap(loss, (None, 0, 0, 0))
        losses = by_parts(flow.mesh, by_rows, flow, x, condition, keys)
        return weighted_mean(losses, weights)


def weighted_mean(losses: Array, weights: ArrayLike | None) -> Array:
    """The mean of (rows,)."""
    if weights is None:
        return jnp.mean(losses)
    return jnp.sum(weights * losses) / jnp.sum(weights)


def warm_up(step: Array | None, num_steps: int) -> Array | float:
    """The weight of a term that is to come in slowly: from 0 to 1 over so many steps, linearly."""
    if step is None or not num_steps:
        return 1.0
    return jnp.minimum(1.0, (step + 1) / num_steps)
