"""Images turned around by chance, left for right, which doubles the data where that is allowed."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from flowjax_lite.losses.likelihood import Loss


def flipped(loss: Loss) -> Loss:
    """A loss of images, half of which are mirrored, by chance and anew in each step.

    For photographs, not for digits or letters. Without a key, as on the rows that `fit` holds out,
    no image is mirrored.

    Args:
        loss: of a model, x (rows, height, width, channels), a condition, weights and a key, such as
            `losses.bits_per_dim`.

    Returns:
        The loss. Equal arguments give equal losses, so nothing compiles twice.

    Example:
        >>> import flowjax_lite as fl
        >>> loss = fl.losses.flipped(fl.losses.bits_per_dim)
    """
    return _Flipped(loss)


@dataclass(frozen=True)
class _Flipped:
    loss: Loss

    def __call__(
        self,
        model: Any,
        x: Array,
        condition: Array | None = None,
        weights: Array | None = None,
        key: Array | None = None,
    ) -> Array:
        if len(model.event_shape) != 3:
            raise ValueError(
                f"flipped is a loss of images (height, width, channels); the model has events of "
                f"shape {model.event_shape}"
            )
        if key is not None:
            key, of_flips = jax.random.split(key)
            mirrored = jax.random.bernoulli(of_flips, shape=(len(x), 1, 1, 1))
            x = jnp.where(mirrored, x[:, :, ::-1], x)
        return self.loss(model, x, condition, weights, key)
