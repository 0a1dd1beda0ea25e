"""Which latent entries of a flow belong to which scale."""

import numpy as np

from flowjax_lite.distributions import Flow


def scales(flow: Flow) -> np.ndarray:
    """The scale of each latent entry of a flow that models its scales one after the other.

    What a scale leaves behind is given what goes on to coarser ones: fine entries that are drawn
    anew change an image in its details alone.

    RealNVP: Dinh, Sohl-Dickstein and Bengio, 2017, arXiv:1605.08803, section 3.6 and appendix D.

    Args:
        flow: one such as `flows.realnvp_image`, `flows.flowpp_image` or `flows.glow`.

    Returns:
        event_shape, whole numbers: 0 for the finest scale, and 0 everywhere where there is one.

    Example:
        >>> import jax, jax.numpy as jnp, flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.glow(image_shape=(8, 8, 1), num_scales=2, num_layers=1, channels=4,
        ...                      rngs=nnx.Rngs(0))
        >>> is_fine = fl.inference.scales(flow) == 0
        >>> z, _ = flow.to_latent(jnp.full((8, 8, 1), 100.0))
        >>> others = jax.random.normal(jax.random.key(0), (5, 8, 8, 1))
        >>> images, _ = flow.to_data(jnp.where(is_fine, others, z))  # alike but for their details
    """
    return np.asarray(flow.bijector.scales())
