"""Bits for each number of an image: the loss of image models, whatever the size of an image."""

import math

import jax
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.core.checks import as_key, check_condition_batch, check_levels
from flowjax_lite.core.mesh import by_parts
from flowjax_lite.distributions import Dequantized
from flowjax_lite.distributions.dequantized import bounds
from flowjax_lite.distributions.statistics import replace_weightless
from flowjax_lite.losses.likelihood import weighted_mean


def bits_per_dim(
    model: Dequantized,
    x: ArrayLike,
    condition: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    key: Array | int | None = None,
) -> Array:
    """Mean bits for each number of an image, an upper bound, from one sample of the noise.

    The norm at which gradients are clipped means the same for images of any size.

    Args:
        model: the distribution of whole levels.
        x: (rows, *event_shape), whole numbers.
        condition: (rows, *condition_shape), or None.
        weights: (rows,), not negative; a row of weight zero has no influence, whatever it holds.
            None weighs all rows alike.
        key: randomness of the noise, or a seed; None takes the same noise each time, as on the
            rows that `fit` holds out, so that epochs compare.

    Returns:
        A scalar, the weighted mean over rows.

    Raises:
        TypeError: the model is no `Dequantized`.
    """
    if not isinstance(model, Dequantized):
        raise TypeError(
            f"bits_per_dim is a loss of a Dequantized; the model is a {type(model).__name__}: "
            f"build it with fl.distributions.Dequantized(flow)"
        )
    if weights is not None:
        x, condition = replace_weightless(weights, x, condition)
    levels = check_levels(x, model.event_shape, model.num_levels, "x")
    condition = check_condition_batch(condition, model.condition_shape)
    keys = jax.random.split(as_key(0 if key is None else key), len(levels))
    of_rows = by_parts(model.mesh, bounds, model, levels, condition, keys)
    return weighted_mean(of_rows, weights) / (-math.prod(model.event_shape) * math.log(2))
