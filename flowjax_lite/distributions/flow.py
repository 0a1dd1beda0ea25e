"""A distribution with an exact density: a base pushed through a bijector."""

import functools
import math
from collections.abc import Callable
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.bijectors.base import AbstractBijector, condition_of
from flowjax_lite.bijectors.compose import unrolled
from flowjax_lite.bijectors.elementwise import Identity
from flowjax_lite.continuous.flow import ContinuousFlow
from flowjax_lite.core.checks import (
    Shape,
    as_key,
    check_batch,
    check_condition_batch,
    check_positive_int,
    default_dtype,
    merge_condition_shapes,
)
from flowjax_lite.core.mesh import by_parts
from flowjax_lite.distributions.bases.base import AbstractBase
from flowjax_lite.distributions.model import AbstractModel
from flowjax_lite.distributions.slices import in_slices

_NUM_TIMES = 10  # states of a trajectory for each layer along a differential equation


class Flow(AbstractModel):
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
        self.mesh = None

    def log_prob(
        self,
        x: ArrayLike,
        condition: ArrayLike | None = None,
        key: Array | int | None = None,
        *,
        batch_size: int | None = None,
    ) -> Array:
        """Log-density, in nats per event and in the units of x.

        Args:
            x: (..., *event_shape).
            condition: (..., *condition_shape); its leading axes broadcast against those of x.
            key: randomness for stochastic estimators, or a seed; None asks for the exact value.
            batch_size: number of events to evaluate at a time, where all of them, perhaps in an
                array of numpy, would not fit in the device's memory; None for all at once. With a
                key, each of these slices has a key of its own.

        Returns:
            (...). A NaN in one event stays in that event.

        Raises:
            TypeError: x or the condition is not floating-point, or a condition is missing.
            ValueError: x or the condition has the wrong shape, or none is taken.
        """
        if batch_size is not None:
            return log_prob_in_slices(self, x, condition, key, batch_size)
        x = at_least_default(check_batch(x, self.event_shape, "x"))
        condition = check_condition_batch(condition, self.condition_shape)

        batch = batch_shape(x, self.event_shape, condition, self.condition_shape)
        return _log_prob(self, x, condition, None if key is None else _split(key, batch))

    def sample(
        self,
        key: Array | int,
        shape: int | Shape = (),
        condition: ArrayLike | None = None,
        *,
        temperature: ArrayLike | None = None,
    ) -> Array:
        """Independent samples: for one key those of `sample_and_log_prob`, up to numerical error.

        Args:
            key: a random key, or a seed.
            shape: number of samples for each condition, or the shape of a batch of them.
            condition: (..., *condition_shape).
            temperature: scales the distance of every latent from the mean of a normal base, so
                that samples come from where the density is higher (below 1) or from further out
                (above 1); None leaves the latents as they are.

        Returns:
            (*shape, ..., *event_shape), with ... the leading axes of the condition.

        Raises:
            TypeError: a condition is missing or not floating-point; the key or the shape is none;
                or there is a temperature and the base is not normal.
            ValueError: the condition has the wrong shape, or none is taken; or the shape or the
                temperature is negative.
        """
        condition = check_condition_batch(condition, self.condition_shape)
        batch = (*sample_shape(shape), *_leading(condition, self.condition_shape))
        return _sample(self, _split(key, batch), condition, _check_temperature(temperature))

    def sample_and_log_prob(
        self, key: Array | int, shape: int | Shape = (), condition: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """Independent samples and their log-densities, cheaper than one after the other.

        Args:
            key: a random key, or a seed.
            shape: number of samples for each condition, or the shape of a batch of them.
            condition: (..., *condition_shape).

        Returns:
            (*shape, ..., *event_shape) and (*shape, ...), with ... the leading axes of the
            condition.

        Raises:
            TypeError: a condition is missing or not floating-point.
            ValueError: the condition has the wrong shape, or none is taken.
        """
        condition = check_condition_batch(condition, self.condition_shape)
        batch = (*sample_shape(shape), *_leading(condition, self.condition_shape))
        return _sample_and_log_prob(self, _split(key, batch), condition)

    def to_latent(self, x: ArrayLike, condition: ArrayLike | None = None) -> tuple[Array, Array]:
        """The latent of every event, and the log-determinant of the way there.

        Args:
            x: (..., *event_shape).
            condition: (..., *condition_shape); its leading axes broadcast against those of x.

        Returns:
            z = f⁻¹(x), (..., *event_shape), and log |det ∂z/∂x|, (...).

        Raises:
            TypeError, ValueError: as `log_prob`.
        """
        x = at_least_default(check_batch(x, self.event_shape, "x"))
        condition = check_condition_batch(condition, self.condition_shape)
        batch_shape(x, self.event_shape, condition, self.condition_shape)
        return _through(self, x, condition, forward=False)

    def to_data(self, z: ArrayLike, condition: ArrayLike | None = None) -> tuple[Array, Array]:
        """The event that every latent becomes, and the log-determinant of the way there.

        Args:
            z: (..., *event_shape).
            condition: (..., *condition_shape); its leading axes broadcast against those of z.

        Returns:
            x = f(z), (..., *event_shape), and log |det ∂x/∂z|, (...).

        Raises:
            TypeError, ValueError: as `log_prob`.
        """
        z = at_least_default(check_batch(z, self.event_shape, "z"))
        condition = check_condition_batch(condition, self.condition_shape)
        batch_shape(z, self.event_shape, condition, self.condition_shape)
        return _through(self, z, condition, forward=True)

    def layers(self) -> list[AbstractBijector]:
        """The layers from the latent to the data, in the order in which a sample passes them."""
        return unrolled(self.bijector)

    def trajectory(
        self, z: ArrayLike, condition: ArrayLike | None = None, *, num_times: int | None = None
    ) -> Array:
        """The way of latents to the data: where they are after every layer.

        Args:
            z: (..., *event_shape).
            condition: (..., *condition_shape); its leading axes broadcast against those of z.
            num_times: number of states, equally spaced in time, for each layer that is a
                `ContinuousFlow`; None is 10. Other layers have one.

        Returns:
            (layers + 1, ..., *event_shape), the first of them z and the last of them the data; with
            num_times in place of 1 for each continuous layer.

        Raises:
            TypeError, ValueError: as `log_prob`; or num_times is given and no layer is continuous.
        """
        z = at_least_default(check_batch(z, self.event_shape, "z"))
        condition = check_condition_batch(condition, self.condition_shape)
        batch = batch_shape(z, self.event_shape, condition, self.condition_shape)
        layers = self.layers()
        if num_times is not None:
            check_positive_int(num_times, "num_times")
            if not any(isinstance(_along_time(layer)[0], ContinuousFlow) for layer in layers):
                raise ValueError(
                    f"num_times is {num_times}, but no layer of this flow is a ContinuousFlow, "
                    f"which has states in between: leave it out"
                )
        z = jnp.broadcast_to(z, batch + self.event_shape)
        if condition is not None and self.condition_shape is not None:
            condition = _mapped_condition(self, condition)
            condition = jnp.broadcast_to(condition, batch + _mapped_shape(self))
        path = [z[None]]
        for layer in layers:  # layers that are built alike run in one compiled program
            at = condition_of(layer, condition)
            shape = layer.condition_shape
            path.append(_states(layer, path[-1][-1], at, shape, num_times or _NUM_TIMES))
        return jnp.concatenate(path)

    def _summary(self) -> list[tuple[str, object]]:
        by_hand = self.recipe is None or self.recipe.name == type(self).__name__
        rows: list[tuple[str, object]] = [
            ("built by", "hand" if by_hand else self.recipe),
            ("base", type(self.base).__name__),
            ("bijector", type(self.bijector).__name__),
        ]
        return rows + super()._summary()

    def map_condition(self, condition: Array | None) -> Array | None:
        """One condition as the base and the bijector take it: through `condition_map`."""
        if self.condition_map is None or condition is None:
            return condition
        return self.condition_map.inverse(condition)


def flow_of_base(base: AbstractBase) -> Flow:
    """A base alone, as the flow without layers, which takes batches."""
    return Flow(base, Identity(base.event_shape))


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
def _sample(
    flow: Flow, keys: Array, condition: Array | None, temperature: Array | None = None
) -> Array:
    def sample(flow: Flow, key: Array, condition: Array | None) -> Array:
        condition = flow.map_condition(condition)
        bijector, base = flow.bijector, flow.base
        z = base.sample(key, condition_of(base, condition))
        if temperature is not None:
            center = base.center(condition_of(base, condition))
            z = center + temperature.astype(z.dtype) * (z - center)
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


@functools.partial(jax.jit, static_argnames="forward")
def _through(
    flow: Flow, value: Array, condition: Array | None, *, forward: bool
) -> tuple[Array, Array]:
    def move(flow: Flow, value: Array, condition: Array | None) -> tuple[Array, Array]:
        bijector = flow.bijector
        condition = condition_of(bijector, flow.map_condition(condition))
        if forward:
            return bijector.forward_and_log_det(value, condition)
        return bijector.inverse_and_log_det(value, condition)

    return _over_batches(
        move,
        flow,
        (value, flow.event_shape),
        (condition, flow.condition_shape),
        outputs=f"{_axes(flow.event_shape, 'x')},()",
    )


@jax.jit
def _mapped_condition(flow: Flow, condition: Array) -> Array:
    return _over_batches(
        lambda flow, condition: flow.map_condition(condition),  # which a subclass may override
        flow,
        (condition, flow.condition_shape),
        outputs=_axes(_mapped_shape(flow), "c"),
    )


def _mapped_shape(flow: Flow) -> Shape:
    """The shape of a condition as the base and the bijector take it."""
    return merge_condition_shapes([flow.base.condition_shape, flow.bijector.condition_shape]) or ()


@functools.partial(jax.jit, static_argnums=(3, 4))
def _states(
    layer: AbstractBijector, z: Array, condition: Array | None, shape: Shape | None, num_times: int
) -> Array:
    """Where latents of one layer are behind it, or along it: (states, ..., *event_shape)."""

    def states(z: Array, condition: Array | None) -> Array:
        bijector, forward = _along_time(layer)
        if not isinstance(bijector, ContinuousFlow):
            return layer.forward(z, condition)[None]
        times = jnp.linspace(0.0, 1.0, num_times + 1)
        return bijector.trajectory(z, times if forward else times[::-1], condition)[1:]

    events = _axes(layer.event_shape, "x")
    conditions = "()" if shape is None else _axes(shape, "c")
    signature = f"{events},{conditions}->{events.replace('(', '(time,', 1)}"
    mapped = jnp.vectorize(states, signature=signature)(z, condition)
    return jnp.moveaxis(mapped, -1 - len(layer.event_shape), 0)


def _along_time(layer: AbstractBijector) -> tuple[AbstractBijector, bool]:
    """A layer without the `Invert` around it, and whether there was none."""
    (part,) = layer.parts()
    return part.bijector, part.forward


def log_prob_in_slices(model: Any, x: Any, condition: Any, key: Any, batch_size: int) -> Array:
    """`log_prob` of a few rows at a time, from arrays that may lie in the host's memory."""
    if any(isinstance(value, jax.core.Tracer) for value in (x, condition, key)):
        raise TypeError(
            "batch_size divides arrays that have values; inside jit, vmap or grad write "
            "jax.lax.map(flow.log_prob, x, batch_size=...) instead"
        )
    x = x if isinstance(x, Array) else np.asarray(x)
    if condition is not None and not isinstance(condition, Array):
        condition = np.asarray(condition)
    batch = batch_shape(x, model.event_shape, condition, model.condition_shape)
    rows = (
        aligned_rows(x, batch, model.event_shape),
        aligned_rows(condition, batch, model.condition_shape),
    )
    return in_slices(model.log_prob, rows, key, batch_size).reshape(batch)


def sample_shape(shape: Any) -> Shape:
    """The shape of a batch of samples, from a shape or a number.

    Raises:
        TypeError: it is neither.
        ValueError: it is negative.
    """
    axes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    for n in axes:
        if isinstance(n, bool) or not isinstance(n, Integral):
            raise TypeError(
                f"shape is {shape!r}; expected a number of samples, such as 1000, or a shape, such "
                f"as (10, 100)"
            )
        if n < 0:
            raise ValueError(
                f"shape is {shape}; expected numbers from 0 on: nothing here tells how many "
                f"samples -1 would be"
            )
    return tuple(map(int, axes))


def _check_temperature(temperature: Any) -> Array | None:
    """The temperature as a scalar array, so that another one compiles nothing.

    Raises:
        TypeError: it is no number.
        ValueError: it is negative or NaN, or not a single number.
    """
    if temperature is None or isinstance(temperature, jax.core.Tracer):
        return temperature
    value = np.asarray(temperature)
    if value.dtype.kind not in "iuf":
        raise TypeError(f"temperature is {temperature!r}; expected a number such as 0.7")
    if value.shape or not 0 <= value < np.inf:
        raise ValueError(
            f"temperature is {temperature}; expected one finite number from 0 on, such as 0.7"
        )
    return jnp.asarray(value, default_dtype())


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


def aligned_rows(array: Any, batch: Shape, shape: Shape | None) -> Any:
    """An array (..., *shape) whose leading axes broadcast to those of a batch, as rows.

    An array of numpy stays one, in the host's memory; None stays None.
    """
    if array is None or shape is None:
        return None
    xp = jnp if isinstance(array, Array) else np
    return xp.broadcast_to(array, batch + shape).reshape(-1, *shape)


def _split(key: Any, batch: Shape) -> Array:
    """One typed key for each event, from a key or a seed."""
    return jax.random.split(as_key(key), math.prod(batch)).reshape(batch)


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
