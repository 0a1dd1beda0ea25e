"""A distribution with an exact density: a base pushed through a bijector."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from flowjax_lite.bijectors.base import AbstractBijector, condition_of
from flowjax_lite.core.checks import (
    Shape,
    check_batch,
    check_condition_batch,
    default_dtype,
    merge_condition_shapes,
)
from flowjax_lite.core.mesh import by_parts
from flowjax_lite.core.recipe import RecordedModule
from flowjax_lite.distributions.bases.base import AbstractBase


class Flow(RecordedModule):
    """The distribution of x = f(z) with z from a base and f a bijector.

        log p(x) = log p_Z(f⁻¹(x)) + log |det ∂f⁻¹/∂x|

    This is the one place where batches appear: all methods map over leading axes.

    Attributes:
        base: the distribution of the latent z.
        bijector: the map f from z to x.
        condition_map: a fixed bijector whose inverse is applied to every condition first,
            or None.
        event_shape: shape of one x.
        condition_shape: shape of one condition, or None where none is taken.
        recipe: the call that built the flow, of a named flow or of this class, for saving.
        mesh: devices among which the rows of a batch are divided, in a training step; None
            everywhere else.
    """

    def __init__(
        self,
        base: AbstractBase,
        bijector: AbstractBijector,
        *,
        condition_map: AbstractBijector | None = None,
    ) -> None:
        """Join a base and a bijector.

        Raises:
            ValueError: event shapes or condition shapes do not fit together.
        """
        if base.event_shape != bijector.event_shape:
            raise ValueError(
                f"the base has event shape {base.event_shape}, the bijector "
                f"{bijector.event_shape}: build both with the same dim"
            )
        self.base = base
        self.bijector = bijector
        self.condition_map = condition_map
        self.event_shape = bijector.event_shape
        self.condition_shape = merge_condition_shapes(
            [base.condition_shape, bijector.condition_shape]
        )
        if condition_map is not None and condition_map.event_shape != self.condition_shape:
            raise ValueError(
                f"condition_map has event shape {condition_map.event_shape}; this flow takes "
                f"conditions of shape {self.condition_shape}"
            )
        self.mesh: Mesh | None = None

    def log_prob(self, x: Array, condition: Array | None = None, key: Array | None = None) -> Array:
        """Log-density, in nats per event and in the units of x.

        Args:
            x: (..., *event_shape).
            condition: (..., *condition_shape); its leading axes broadcast against those of x.
            key: randomness for stochastic estimators; None asks for the exact value.

        Returns:
            (...). A NaN in one event stays in that event.

        Raises:
            TypeError: x or the condition is not floating-point, or a condition is missing.
            ValueError: x or the condition has the wrong shape, or none is taken.
        """
        x = at_least_default(check_batch(x, self.event_shape, "x"))
        condition = check_condition_batch(condition, self.condition_shape)

        batch = batch_shape(x, self.event_shape, condition, self.condition_shape)
        return _log_prob(self, x, condition, None if key is None else _split(key, batch))

    def sample(self, key: Array, shape: Shape = (), condition: Array | None = None) -> Array:
        """Independent samples: for one key those of `sample_and_log_prob`, up to numerical error.

        Args:
            key: a random key.
            shape: shape of the batch of samples for each condition.
            condition: (..., *condition_shape).

        Returns:
            (*shape, ..., *event_shape), with ... the leading axes of the condition.

        Raises:
            TypeError: a condition is missing or not floating-point.
            ValueError: the condition has the wrong shape, or none is taken.
        """
        condition = check_condition_batch(condition, self.condition_shape)
        keys = _split(key, (*shape, *_leading(condition, self.condition_shape)))
        return _sample(self, keys, condition)

    def sample_and_log_prob(
        self, key: Array, shape: Shape = (), condition: Array | None = None
    ) -> tuple[Array, Array]:
        """Independent samples and their log-densities, cheaper than one after the other.

        Args:
            key: a random key.
            shape: shape of the batch of samples for each condition.
            condition: (..., *condition_shape).

        Returns:
            (*shape, ..., *event_shape) and (*shape, ...), with ... the leading axes of the
            condition.

        Raises:
            TypeError: a condition is missing or not floating-point.
            ValueError: the condition has the wrong shape, or none is taken.
        """
        condition = check_condition_batch(condition, self.condition_shape)
        keys = _split(key, (*shape, *_leading(condition, self.condition_shape)))
        return _sample_and_log_prob(self, keys, condition)

    def map_condition(self, condition: Array | None) -> Array | None:
        """One condition as the base and the bijector take it: through `condition_map`."""
        if self.condition_map is None or condition is None:
            return condition
        return self.condition_map.inverse(condition)

    def divided(self, mesh: Mesh | None) -> "Flow":
        """The same flow, whose batches are divided among the devices of a mesh."""
        copy: Flow = jax.tree.map(lambda leaf: leaf, self)
        copy.mesh = mesh
        return copy


# Compiled once for each structure and shape, also where a notebook calls without `jit`.


@jax.jit
def _log_prob(flow: Flow, x: Array, condition: Array | None, keys: Array | None) -> Array:
    def log_prob(flow: Flow, x: Array, condition: Array | None, key: Array | None) -> Array:
        condition = flow.map_condition(condition)
        bijector, base = flow.bijector, flow.base
        z, log_det = bijector.inverse_and_log_det(x, condition_of(bijector, condition), key)
        return base.log_prob(z, condition_of(base, condition)) + log_det

    return _over_batches(
        log_prob,
        flow,
        (x, flow.event_shape),
        (condition, flow.condition_shape),
        (keys, ()),
        outputs="()",
    )


@jax.jit
def _sample(flow: Flow, keys: Array, condition: Array | None) -> Array:
    def sample(flow: Flow, key: Array, condition: Array | None) -> Array:
        condition = flow.map_condition(condition)
        bijector, base = flow.bijector, flow.base
        z = base.sample(key, condition_of(base, condition))
        return bijector.forward(z, condition_of(bijector, condition))

    return _over_batches(
        sample,
        flow,
        (keys, ()),
        (condition, flow.condition_shape),
        outputs=_axes(flow.event_shape, "x"),
    )


@jax.jit
def _sample_and_log_prob(flow: Flow, keys: Array, condition: Array | None) -> tuple[Array, Array]:
    def sample(flow: Flow, key: Array, condition: Array | None) -> tuple[Array, Array]:
        condition = flow.map_condition(condition)
        bijector, base = flow.bijector, flow.base
        z = base.sample(key, condition_of(base, condition))
        log_prob = base.log_prob(z, condition_of(base, condition))
        x, log_det = bijector.forward_and_log_det(z, condition_of(bijector, condition))
        return x, log_prob - log_det

    return _over_batches(
        sample,
        flow,
        (keys, ()),
        (condition, flow.condition_shape),
        outputs=f"{_axes(flow.event_shape, 'x')},()",
    )


def at_least_default(x: Array) -> Array:
    """x in the default precision if it has less, as the parameters have."""
    return x.astype(jnp.promote_types(x.dtype, default_dtype()))


def _leading(array: Array | None, shape: Shape | None) -> Shape:
    """The batch axes of an array whose last axes are one event or condition."""
    return () if array is None or shape is None else array.shape[: array.ndim - len(shape)]


def batch_shape(
    x: Array, event_shape: Shape, condition: Array | None, condition_shape: Shape | None
) -> Shape:
    """The leading axes of x and the condition, broadcast against each other."""
    batches = _leading(x, event_shape), _leading(condition, condition_shape)
    try:
        return jnp.broadcast_shapes(*batches)
    except ValueError as error:
        raise ValueError(
            f"x has leading axes {batches[0]} and condition {batches[1]}; expected axes that "
            f"broadcast: give one condition for all events, or one for each"
        ) from error


def _split(key: Array, batch: Shape) -> Array:
    """One typed key for each event, from a typed key or one of `jax.random.PRNGKey`."""
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    return jax.random.split(key, batch)


def _over_batches(
    function: Callable[..., Any],
    flow: Flow,
    *arguments: tuple[Array | None, Shape | None],
    outputs: str,
) -> Any:
    """Map a function of single events over the leading axes of its arguments, broadcast.

    Args:
        function: takes the flow and one of each argument.
        flow: the same for all.
        arguments: arrays, and the shape of one event of each; None is passed on.
        outputs: core axes of the results, as `jnp.vectorize` spells them.
    """
    rank = max(len(_leading(*argument)) for argument in arguments)
    aligned: list[Array | None] = []
    axes = []
    for i, (array, shape) in enumerate(arguments):
        if array is None or shape is None:
            aligned.append(None)
            axes.append("()")
        else:
            batch = _leading(array, shape)
            aligned.append(array.reshape((1,) * (rank - len(batch)) + array.shape))
            axes.append(_axes(shape, f"argument{i}_"))
    signature = f"{','.join(axes)}->{outputs}"

    def map_rows(flow: Flow, *rows: Array | None) -> Any:
        return jnp.vectorize(functools.partial(function, flow), signature=signature)(*rows)

    return by_parts(flow.mesh, map_rows, flow, *aligned) if rank else map_rows(flow, *aligned)


def _axes(shape: Shape, name: str) -> str:
    return "(" + ",".join(f"{name}{i}" for i in range(len(shape))) + ")"
