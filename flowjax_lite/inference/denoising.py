"""Events without the noise that a flow was trained with."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.core.checks import check_batch, check_condition_batch
from flowjax_lite.core.recipe import known_numbers
from flowjax_lite.distributions import Flow, FlowMixture
from flowjax_lite.distributions.flow import at_least_default, batch_shape


def denoise(
    flow: Flow | FlowMixture,
    x: ArrayLike,
    *,
    noise_scale: ArrayLike,
    condition: ArrayLike | None = None,
) -> Array:
    """The mean of what an event was before noise came on it, by the density of noisy events.

        E[clean | x] = x + σ² ∇ log p(x),  x = clean + σ ε,  ε ~ N(0, I)

    A flow that was trained with `losses.noise_regularized(scale=noise_scale)` makes noisy samples;
    this takes the noise away from them. No network is trained for it.

    Tweedie's formula: Robbins, 1956; Efron, 2011, doi:10.1198/jasa.2011.tm11181. For samples of
    flows: Zhai et al., 2024, arXiv:2412.06329.

    Args:
        flow: the density of noisy events.
        x: (..., *event_shape), noisy events, such as samples of the flow.
        noise_scale: σ, in the units of x: a number, or (*event_shape), one for each entry.
        condition: (..., *condition_shape); its leading axes broadcast against those of x.

    Returns:
        (..., *event_shape).

    Raises:
        TypeError: flow has no exact density; or as `Flow.log_prob`.
        ValueError: noise_scale has another shape or is not positive; or as `Flow.log_prob`.

    Example:
        >>> import jax, flowjax_lite as fl
        >>> from flax import nnx
        >>> x = jax.random.normal(jax.random.key(0), (64, 2))
        >>> flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> loss = fl.losses.noise_regularized(scale=0.3)
        >>> flow = fl.fit(flow, x, loss=loss, key=0, max_epochs=2, progress=False).flow
        >>> clean = fl.inference.denoise(flow, flow.sample(0, 5), noise_scale=0.3)
    """
    if not isinstance(flow, Flow | FlowMixture):
        raise TypeError(
            f"flow is a {type(flow).__name__}; expected a Flow, or a FlowMixture, of real numbers "
            f"with Gaussian noise on them, as losses.noise_regularized trains it"
        )
    x = at_least_default(check_batch(x, flow.event_shape, "x"))
    condition = check_condition_batch(condition, flow.condition_shape)
    known = known_numbers(noise_scale)
    if jnp.shape(noise_scale) not in ((), flow.event_shape) or not (
        known is None or np.all((known > 0) & (known < np.inf))
    ):
        raise ValueError(
            f"noise_scale is {noise_scale}; expected a positive number, or one for each entry of "
            f"an event, {flow.event_shape}: that of the noise in training"
        )
    batch = batch_shape(x, flow.event_shape, condition, flow.condition_shape)
    x = jnp.broadcast_to(x, batch + flow.event_shape)
    variance = jnp.broadcast_to(jnp.square(jnp.asarray(noise_scale, x.dtype)), x.shape)
    return x + variance * _score(flow, x, condition)


@jax.jit
def _score(flow: Flow | FlowMixture, x: Array, condition: Array | None) -> Array:
    """∇ log p of each event; those of one do not depend on another, so the sum's gradient is it."""
    return jax.grad(lambda x: jnp.sum(flow.log_prob(x, condition)))(x)
