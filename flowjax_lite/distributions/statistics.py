"""What a flow takes from a batch as a whole: first constants, and running statistics."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.bijectors.base import AbstractNormalization, Renew, with_parts
from flowjax_lite.bijectors.normalization import BatchNorm
from flowjax_lite.core.checks import check_batch, check_condition_batch, check_levels
from flowjax_lite.core.pytree import holds
from flowjax_lite.distributions.dequantized import Dequantized
from flowjax_lite.distributions.flow import Flow, aligned_rows, at_least_default, batch_shape

Model = TypeVar("Model", bound=Flow | Dequantized)


def initialize(flow: Model, x: Any, condition: Any = None) -> Model:
    """Set the constants of every `ActNorm` and `BatchNorm` from data, before training.

    The rows go through the flow from the data side to the latent side, and each such layer is set
    so that they leave it with mean zero and variance one, entry by entry; a constant entry
    keeps its scale. Some thousand rows are plenty.

    Glow: Kingma and Dhariwal, 2018, arXiv:1807.03039, section 3.1.

    Args:
        flow: the model, also a `Dequantized`; it is left as it is.
        x: (..., *event_shape), at least two rows.
        condition: (..., *condition_shape); its leading axes broadcast against those of x.

    Returns:
        The new flow; a flow without such layers comes back unchanged.

    Raises:
        TypeError: x or the condition is not floating-point, or a condition is missing.
        ValueError: x or the condition has the wrong shape, or there are fewer than two rows.

    Example:
        >>> import jax, flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.glow_1d(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> flow = fl.initialize(flow, 100 * jax.random.normal(jax.random.key(0), (64, 2)))
    """
    if isinstance(flow, Dequantized):
        return _with_noise(flow, x, lambda flow, x: initialize(flow, x, condition))
    rows = _rows(flow, x, condition, None)
    if not holds(flow, AbstractNormalization):
        return flow
    if len(rows[0]) < 2:
        raise ValueError(
            f"x has shape {jnp.shape(x)}; expected two events at least, on an axis before those of "
            f"an event, {flow.event_shape}: one alone has no scale"
        )
    return _renewed(flow, *rows, renew=_initialized)


def observe(flow: Model, x: Any, condition: Any = None, weights: Any = None) -> Model:
    """Move the running statistics of every `BatchNorm` towards those of a batch.

    They become momentum · old + (1 - momentum) · the batch's, which goes on its way normalised
    by them. Gradients go through the batch's statistics; the old ones are constants. A training
    step evaluates its loss on this flow, and keeps its statistics; see `make_train_step`.

    RealNVP: Dinh, Sohl-Dickstein and Bengio, 2017, arXiv:1605.08803, appendix E.

    Args:
        flow: the model, also a `Dequantized`; it is left as it is.
        x: (..., *event_shape).
        condition: (..., *condition_shape); its leading axes broadcast against those of x.
        weights: (...), not negative; rows of weight zero have no influence. None weighs all
            rows alike.

    Returns:
        The new flow; a flow without such layers comes back unchanged.

    Raises:
        TypeError: x or the condition is not floating-point, or a condition is missing.
        ValueError: x or the condition has the wrong shape.
    """
    if isinstance(flow, Dequantized):
        return _with_noise(flow, x, lambda flow, x: observe(flow, x, condition, weights))
    rows = _rows(flow, x, condition, weights)
    if not holds(flow, BatchNorm):
        return flow
    return _renewed(flow, *rows, renew=_observed)


def _with_noise(model: Dequantized, x: Any, renewed: Callable[[Flow, Array], Flow]) -> Any:
    """The model whose flow has met images with noise, always the same."""
    x = check_levels(x, model.event_shape, model.num_levels, "x")
    rows = x.reshape(-1, *model.event_shape)
    keys = jax.random.split(jax.random.key(0), len(rows))
    noisy, _ = jax.vmap(model.dequantized)(rows, keys)
    return with_parts(model, flow=renewed(model.flow, noisy.reshape(x.shape)))


def _rows(flow: Flow, x: Any, condition: Any, weights: Any) -> tuple[Array, Array | None, Array]:
    """Aligned rows, along one axis."""
    x = at_least_default(check_batch(x, flow.event_shape, "x"))
    condition = check_condition_batch(condition, flow.condition_shape)
    batch = batch_shape(x, flow.event_shape, condition, flow.condition_shape)
    condition = aligned_rows(condition, batch, flow.condition_shape)
    x = aligned_rows(x, batch, flow.event_shape)
    if weights is None:
        return x, condition, jnp.ones(len(x), x.dtype)
    weights = aligned_rows(jnp.asarray(weights), batch, ())
    return *replace_weightless(weights, x, condition), weights


def replace_weightless(
    weights: ArrayLike, x: ArrayLike, condition: ArrayLike | None
) -> tuple[Array, Array | None]:
    """Put a row that has weight in the place of each one that has none, whatever that holds.

    A product by zero would not do: the gradient of 0 · f(NaN) is NaN.

    Args:
        weights: (rows,), not negative.
        x: (rows, *event_shape).
        condition: (rows, *condition_shape), or None.

    Returns:
        x and the condition.
    """
    weights = jnp.asarray(weights)
    first = jnp.argmax(weights > 0)

    def replaced(rows: ArrayLike) -> Array:
        rows = jnp.asarray(rows)
        if rows.shape[:1] != weights.shape:  # one condition for all
            return rows
        has_weight = jnp.expand_dims(weights > 0, tuple(range(1, rows.ndim)))
        return jnp.where(has_weight, rows, rows[first][None])

    return replaced(x), None if condition is None else replaced(condition)


def _initialized(
    layer: AbstractNormalization, batch: Array, weights: Array, forward: bool
) -> AbstractNormalization:
    return layer.initialized(batch, weights, forward=forward)


def _observed(
    layer: AbstractNormalization, batch: Array, weights: Array, forward: bool
) -> AbstractNormalization:
    if not isinstance(layer, BatchNorm):
        return layer
    return layer.observed(batch, weights, forward=forward)


# Compiled once for each structure and shape, also where a notebook calls without `jit`.
@functools.partial(jax.jit, static_argnames=("renew",))
def _renewed(
    flow: Flow, x: Array, condition: Array | None, weights: Array, *, renew: Renew
) -> Flow:
    if condition is not None:
        condition = jax.vmap(flow.map_condition)(condition)
    new = jax.tree.map(lambda leaf: leaf, flow)
    new.bijector, _ = flow.bijector.renewed(renew, x, condition, weights)
    return new
