"""A density seen through a flow: what a sampler walks on."""

from collections.abc import Callable

from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.bijectors.base import AbstractBijector, condition_of
from flowjax_lite.core.checks import check_condition
from flowjax_lite.distributions import Flow
from flowjax_lite.losses.variational import LogTarget, log_density_of_one


def latent_log_density(
    flow: Flow | AbstractBijector, log_target: LogTarget, condition: ArrayLike | None = None
) -> Callable[[Array], Array]:
    """The density of z where x = f(z) has the density p: a function for any sampler.

        log p(f(z)) + log |det ∂f/∂z|

    Where a flow has learned p, this is close to its base, which samplers walk with long steps.
    What they find is mapped back by `flow.to_data(z)`. Of a bijector alone, such as `Domains`, it
    is the density without constraints.

    NeuTra: Hoffman et al., 2019, arXiv:1903.03704.

    Args:
        flow: the flow, or a bijector, that maps z to x. Its arrays are constants of the function.
        log_target: log p of one event, up to a constant: from `event_shape` to a scalar.
        condition: (*condition_shape), one condition of the flow; log_target takes none.

    Returns:
        A function from one z, (*event_shape), to a scalar in nats; map batches by `jax.vmap`.

    Raises:
        TypeError: a condition is missing; and, where the function is called, log_target returns
            no floating-point number.
        ValueError: the condition has the wrong shape, or none is taken; and, where the function
            is called, z has the wrong shape or log_target returns an array with axes.

    Example:
        >>> import jax.numpy as jnp, flowjax_lite as fl
        >>> log_p = fl.inference.latent_log_density(fl.bijectors.Exp((1,)), lambda x: -x.sum())
        >>> float(log_p(jnp.zeros(1)))  # of an exponential variable at 1, by its logarithm
        -1.0
    """
    condition = check_condition(condition, flow.condition_shape)
    if isinstance(flow, Flow):
        condition = flow.map_condition(condition)
        bijector = flow.bijector
    else:
        bijector = flow
    condition = condition_of(bijector, condition)
    log_density = log_density_of_one(log_target, bijector.event_shape)

    def log_density_of_latent(z: Array) -> Array:
        x, log_det = bijector.forward_and_log_det(z, condition)
        return log_density(x) + log_det

    return log_density_of_latent
