"""Likelihood of rows with noise on them, which smooths the density that is learned."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.core.checks import check_float
from flowjax_lite.distributions import Flow
from flowjax_lite.losses.likelihood import Loss, negative_log_likelihood

# A number, or one for each entry of an event, as nested tuples: what can be compared and hashed.
_Scale = float | tuple[Any, ...]


def noise_regularized(*, scale: Any) -> Loss:
    """Negative log-likelihood of rows with Gaussian noise on them, drawn anew in each step.

        -log p(x + scale · ε),  ε ~ N(0, I)

    What is learned is the density of the data convolved with the noise, as a kernel density
    estimate with this bandwidth has it: the flow cannot put spikes on single rows, on columns with
    few values or on a surface of lower dimension. That makes better anomaly scores of few rows.
    Without a key, as on the rows that `fit` holds out, it is the negative log-likelihood alone.

    Rothfuss et al., 2019, arXiv:1907.08982.

    Args:
        scale: standard deviation of the noise, in the units of x: a number, or an array of
            event_shape, such as `0.1 * x.std(axis=0)`; positive.

    Returns:
        A loss for `fit`, `fit_ensemble` and `make_train_step`. Equal arguments give equal losses,
        so nothing compiles twice.

    Raises:
        ValueError: a scale is not positive and finite; and, where the loss is called, scale has
            another shape than an event.

    Example:
        >>> import jax, flowjax_lite as fl
        >>> from flax import nnx
        >>> x = jax.random.normal(jax.random.key(0), (64, 2))
        >>> flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> loss = fl.losses.noise_regularized(scale=0.1)
        >>> flow = fl.fit(flow, x, loss=loss, key=0, max_epochs=2, progress=False).flow
    """
    values = np.asarray(scale, np.float64)
    if not (values.size and np.all((values > 0) & (values < np.inf))):
        raise ValueError(
            f"scale is {scale}; expected positive numbers, such as 0.1 * x.std(axis=0)"
        )
    return _NoiseRegularized(_as_tuples(values.tolist()))


@dataclass(frozen=True)
class _NoiseRegularized:
    scale: _Scale

    def __call__(
        self,
        flow: Flow,
        x: Array,
        condition: Array | None = None,
        weights: Array | None = None,
        key: Array | None = None,
    ) -> Array:
        scale = np.asarray(self.scale)
        if scale.shape not in ((), flow.event_shape):
            raise ValueError(
                f"scale has shape {scale.shape}; this flow has events of shape "
                f"{flow.event_shape}: give one number for each entry, or one for all"
            )
        if key is not None:
            noise_key, key = jax.random.split(key)
            x = check_float(x, "x")
            noise = jax.random.normal(noise_key, x.shape, x.dtype)
            x = x + jnp.broadcast_to(jnp.asarray(scale, x.dtype), x.shape) * noise
        return negative_log_likelihood(flow, x, condition, weights, key)


def _as_tuples(values: Any) -> _Scale:
    return tuple(map(_as_tuples, values)) if isinstance(values, list) else values
