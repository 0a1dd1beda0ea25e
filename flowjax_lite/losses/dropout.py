"""Conditions left out by chance, so that a model also learns what there is without them."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from flowjax_lite.core.checks import check_condition_batch
from flowjax_lite.losses.likelihood import Loss


def condition_dropout(loss: Loss, *, rate: float = 0.1) -> Loss:
    """A loss of rows some of whose conditions are zeros, by chance and anew in each step.

    Labels are one-hot conditions, and zeros stand for none; `flows.guided` compares the two.
    Without a key, as on the rows that `fit` holds out, all conditions stay.

    Ho and Salimans, 2022, arXiv:2207.12598, algorithm 1.

    Args:
        loss: of a model, x, a condition (rows, *condition_shape), weights and a key, such as
            `negative_log_likelihood` or `bits_per_dim`.
        rate: the probability with which a row loses its condition, between 0 and 1.

    Returns:
        The loss. Equal arguments give equal losses, so nothing compiles twice.

    Raises:
        ValueError: rate is not between 0 and 1; and, where the loss is called, the model takes no
            condition.

    Example:
        >>> import flowjax_lite as fl
        >>> loss = fl.losses.condition_dropout(fl.losses.bits_per_dim)
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate is {rate}; expected a probability between 0 and 1, such as 0.1")
    return _ConditionDropout(loss, float(rate))


@dataclass(frozen=True)
class _ConditionDropout:
    loss: Loss
    rate: float

    def __call__(
        self,
        model: Any,
        x: Array,
        condition: Array | None = None,
        weights: Array | None = None,
        key: Array | None = None,
    ) -> Array:
        shape = model.condition_shape
        if shape is None:
            raise ValueError(
                "condition_dropout leaves conditions out, and this model takes none: build it with "
                "condition_dim, or train it with the loss inside"
            )
        if key is not None:
            key, of_rows = jax.random.split(key)
            given = check_condition_batch(condition, shape)
            assert given is not None
            rows = given.shape[: given.ndim - len(shape)]
            is_left_out = jax.random.bernoulli(of_rows, self.rate, rows)
            condition = jnp.where(is_left_out.reshape(*rows, *[1] * len(shape)), 0.0, given)
        return self.loss(model, x, condition, weights, key)
