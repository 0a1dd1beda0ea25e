"""Paths between two events through the latent space of a flow."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.distributions import Flow


def interpolate(
    flow: Flow,
    first: ArrayLike,
    second: ArrayLike,
    num: int,
    *,
    condition: ArrayLike | None = None,
) -> Array:
    """Events on the way from one to another, along an arc between their latents.

    A straight line would pass too near to the centre of a normal base, where there are no samples
    in many dimensions; on an arc, lengths go from one to the other.

    Shoemake, 1985, Animating rotation with quaternion curves; for latents White, 2016,
    arXiv:1609.04468.

    Args:
        flow: a flow with a base around zero, such as `StandardNormal`.
        first: event_shape.
        second: event_shape.
        num: number of events, both ends included; at least 2.
        condition: condition_shape, that of all of them.

    Returns:
        (num, *event_shape).

    Raises:
        TypeError: events are not floating-point, or num is not whole.
        ValueError: events have the wrong shape, or num is below 2.

    Example:
        >>> import jax.numpy as jnp, flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> fl.inference.interpolate(flow, jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]), 5).shape
        (5, 2)
    """
    num = check_positive_int(num, "num", minimum=2)
    (a, _), (b, _) = (flow.to_latent(x, condition) for x in (first, second))
    lengths = jnp.linalg.norm(a), jnp.linalg.norm(b)
    a, b = (z / length for z, length in zip((a, b), lengths, strict=True))
    angle = jnp.arccos(jnp.clip(jnp.vdot(a, b), -1.0, 1.0))
    along = jnp.linspace(0, 1, num, dtype=a.dtype).reshape(-1, *[1] * a.ndim)
    straight = jnp.sin(angle) < 1e-3  # latents on one line, between which there is no arc
    sine = jnp.where(straight, 1.0, jnp.sin(angle))
    of_a = jnp.where(straight, 1 - along, jnp.sin((1 - along) * angle) / sine)
    of_b = jnp.where(straight, along, jnp.sin(along * angle) / sine)
    length = (1 - along) * lengths[0] + along * lengths[1]
    return flow.to_data(length * (of_a * a[None] + of_b * b[None]), condition)[0]
