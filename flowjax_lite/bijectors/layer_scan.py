"""A scan over layers, forwards, in forward mode, and in reverse mode without stored inputs.

Plain functions; `reversible` makes them one differentiable function.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax


class Scan(NamedTuple):
    """What is static: functions of one layer's part of `Inputs`, and how they are run."""

    stages: tuple[Callable[..., tuple[Array, Array]], ...]
    inverses: tuple[Callable[..., tuple[Array, Array]], ...]
    length: int
    reverse: bool
    event_ndim: int

    def apply(
        self, weights: Any, others: Any, x: Array, condition: Array | None
    ) -> tuple[Array, Array]:
        """All stages of a layer."""
        log_dets = []
        for stage in self.stages:
            x, log_det = stage(weights, others, x, condition)
            log_dets.append(log_det)
        return x, sum(log_dets[1:], log_dets[0])


class Inputs(NamedTuple):
    """What goes in; under `vmap`, x always has the batch axis in front, the others may.

    This and the next two hold arrays, or a number for each: is it mapped, and on which axis.
    """

    weights: Any  # list, layer axis first
    others: Any  # the same, not differentiable: indices and keys
    x: Any
    condition: Any


class Kept(NamedTuple):
    """What the forward pass leaves for the backward pass, besides its inputs."""

    y: Any
    fingerprints: Any  # (layers, *batch), of each layer's input


class Tangents(NamedTuple):
    """Changes of the inputs that can change."""

    weights: Any
    x: Any
    condition: Any


def run(scan: Scan, inputs: Inputs) -> tuple[Array, Array, Array]:
    """The output, the log-determinant and the fingerprints."""

    def body(x: Array, layer: Any) -> tuple[Array, Any]:
        weights, others = layer
        y, log_det = scan.apply(weights, others, x, inputs.condition)
        return y, (log_det, _fingerprint(x, scan.event_ndim))

    y, (log_dets, fingerprints) = lax.scan(
        body, inputs.x, (inputs.weights, inputs.others), length=scan.length, reverse=scan.reverse
    )
    return y, jnp.sum(log_dets, axis=0), fingerprints


def push(scan: Scan, inputs: Inputs, kept: Kept, tangents: Tangents) -> tuple[Array, Array]:
    """The changes of the output and of the log-determinant: forward mode."""
    del kept

    def body(carry: tuple[Array, Array], layer: Any) -> tuple[Any, Array]:
        weights, others, of_weights = layer
        x, of_x = carry
        (y, _), (of_y, of_log_det) = jax.jvp(
            lambda weights, x, condition: scan.apply(weights, others, x, condition),
            (weights, x, inputs.condition),
            (of_weights, of_x, tangents.condition),
        )
        return (y, of_y), of_log_det

    (_, of_y), of_log_dets = lax.scan(
        body,
        (inputs.x, tangents.x),
        (inputs.weights, inputs.others, tangents.weights),
        length=scan.length,
        reverse=scan.reverse,
    )
    return of_y, jnp.sum(of_log_dets, axis=0)


def pull(scan: Scan, inputs: Inputs, kept: Kept, cotangents: tuple[Array, Array]) -> Tangents:
    """The transpose of `push`, which rebuilds each layer's input: reverse mode."""
    of_y, of_log_det = cotangents

    def body(carry: tuple[Array, Array, Any], layer: Any) -> tuple[Any, list[Array]]:
        x, of_y, of_condition = carry
        weights, others, fingerprint = layer
        inputs_of_stages = []
        for inverse in reversed(scan.inverses):
            x, _ = inverse(weights, others, x, inputs.condition)
            inputs_of_stages.append(x)
        faithful = _agree(_fingerprint(x, scan.event_ndim), fingerprint, x)
        of_y = jnp.where(jnp.expand_dims(faithful, _event_axes(scan.event_ndim)), of_y, jnp.nan)
        parts = weights, inputs.condition
        of_parts = jax.tree.map(jnp.zeros_like, weights), of_condition
        for stage, z in zip(reversed(scan.stages), inputs_of_stages, strict=True):
            _, pull_stage = jax.vjp(
                lambda parts, z, stage=stage: stage(parts[0], others, z, parts[1]), parts, z
            )
            more, of_y = pull_stage((of_y, of_log_det))
            of_parts = jax.tree.map(jnp.add, of_parts, more)
        of_weights, of_condition = of_parts
        return (x, of_y, of_condition), of_weights

    (_, of_x, of_condition), of_weights = lax.scan(
        body,
        (kept.y, of_y, jax.tree.map(jnp.zeros_like, inputs.condition)),
        (inputs.weights, inputs.others, kept.fingerprints),
        length=scan.length,
        reverse=not scan.reverse,
    )
    return Tangents(of_weights, of_x, of_condition)


def _fingerprint(x: Array, event_ndim: int) -> Array:
    """One number of each event: a sum with signs and weights that let no two errors cancel."""
    events = x.reshape(*x.shape[: x.ndim - event_ndim], -1)
    index = jnp.arange(events.shape[-1], dtype=x.dtype)
    weights = jnp.where(index % 2 == 0, 1.0, -1.0) * (1 + (0.618034 * index) % 1)
    return jnp.matmul(events, weights, precision=lax.Precision.HIGHEST)


def _agree(rebuilt: Array, kept: Array, x: Array) -> Array:
    """Whether fingerprints agree to half of the digits; False for NaN."""
    event_ndim = x.ndim - kept.ndim
    size = jnp.max(jnp.abs(x), axis=_event_axes(event_ndim))
    return jnp.abs(rebuilt - kept) <= jnp.sqrt(jnp.finfo(x.dtype).eps) * (1 + size)


def _event_axes(event_ndim: int) -> tuple[int, ...]:
    return tuple(range(-event_ndim, 0))
