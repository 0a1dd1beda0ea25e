"""A scan over invertible layers whose backward pass keeps no layer's input.

The input of each layer is rebuilt from its output, by the layer's other direction, so the memory
of a gradient does not grow with depth. Reversible residual networks: Gomez, Ren, Urtasun and
Grosse, 2017, arXiv:1707.04585.

A rule by `jax.custom_vjp` would be shorter, but under `vmap` it makes one gradient of the weights
for each event before it sums them. The two primitives below are mapped before they are
differentiated, as a plain scan is: the layer itself becomes a function of a batch, and products
in its pullback sum over events. All modes of differentiation work.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

# A layer, its input, the condition -> its output and log-determinant.
Apply: TypeAlias = Callable[[Any, Array, Array | None], tuple[Array, Array]]


def reversible_scan(
    stages: Sequence[tuple[Apply, Apply]],
    layers: Any,
    x: Array,
    condition: Array | None,
    *,
    length: int,
    reverse: bool,
    unroll: int,
) -> tuple[Array, Array]:
    """Run layers one after the other; in a backward pass, run them back.

    A number is kept of each layer's input, and the input that is rebuilt must agree with it to
    three quarters of the digits. Where it does not, because a layer is too badly conditioned to
    be run back, the event's gradient is NaN.

    Args:
        stages: what a layer does to its input, one after the other, each with its inverse. Where
            a stage and its inverse share work on equal numbers, such as a network, XLA finds it.
        layers: a pytree stacked over layers on axis 0.
        x: one event.
        condition: what all layers share, or None.
        length: number of layers.
        reverse: whether the last layer comes first.
        unroll: number of layers in one round of the scan.

    Returns:
        The last layer's output, and the sum of the log-determinants.
    """
    leaves, structure = jax.tree.flatten(layers)
    trained = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]
    weights = [leaf for leaf, is_trained in zip(leaves, trained, strict=True) if is_trained]
    others = [leaf for leaf, is_trained in zip(leaves, trained, strict=True) if not is_trained]

    def on_parts(function: Apply) -> Callable[..., tuple[Array, Array]]:
        def call(
            weights: list[Array], others: list[Array], x: Array, condition: Array | None
        ) -> tuple[Array, Array]:
            parts = iter(weights), iter(others)
            leaves = [next(parts[not is_trained]) for is_trained in trained]
            return function(jax.tree.unflatten(structure, leaves), x, condition)

        return call

    scan = _Scan(
        stages=tuple(on_parts(stage) for stage, _ in stages),
        inverses=tuple(on_parts(inverse) for _, inverse in stages),
        length=length,
        reverse=reverse,
        unroll=unroll,
        event_ndim=x.ndim,
    )
    y, log_det, _ = _bind(_run_p, scan, _Inputs(weights, others, x, condition))
    return y, log_det


class _Scan(NamedTuple):
    """What is static: functions of one layer's part of `_Inputs`, and how they are run."""

    stages: tuple[Callable[..., tuple[Array, Array]], ...]
    inverses: tuple[Callable[..., tuple[Array, Array]], ...]
    length: int
    reverse: bool
    unroll: int
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


class _Inputs(NamedTuple):
    """What goes in; under `vmap`, x always has the batch axis in front, the others may.

    This and the next two hold arrays, or a number for each: is it mapped, and on which axis.
    """

    weights: Any  # list, layer axis first
    others: Any  # the same, not differentiable: indices and keys
    x: Any
    condition: Any


class _Kept(NamedTuple):
    """What the forward pass leaves for the backward pass, besides its inputs."""

    y: Any
    fingerprints: Any  # (layers, *batch), of each layer's input


class _Tangents(NamedTuple):
    """Changes of the inputs that can change."""

    weights: Any
    x: Any
    condition: Any


def _run(scan: _Scan, inputs: _Inputs) -> tuple[Array, Array, Array]:
    """The output, the log-determinant and the fingerprints."""

    def body(x: Array, layer: Any) -> tuple[Array, Any]:
        weights, others = layer
        y, log_det = scan.apply(weights, others, x, inputs.condition)
        return y, (log_det, _fingerprint(x, scan.event_ndim))

    y, (log_dets, fingerprints) = lax.scan(
        body,
        inputs.x,
        (inputs.weights, inputs.others),
        length=scan.length,
        reverse=scan.reverse,
        unroll=scan.unroll,
    )
    return y, jnp.sum(log_dets, axis=0), fingerprints


def _push(scan: _Scan, inputs: _Inputs, kept: _Kept, tangents: _Tangents) -> tuple[Array, Array]:
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
        unroll=scan.unroll,
    )
    return of_y, jnp.sum(of_log_dets, axis=0)


def _pull(scan: _Scan, inputs: _Inputs, kept: _Kept, cotangents: tuple[Array, Array]) -> _Tangents:
    """The transpose of `_push`, which rebuilds each layer's input: reverse mode."""
    of_y, of_log_det = cotangents

    def body(carry: tuple[Array, Array, Any], layer: Any) -> tuple[Any, list[Array]]:
        x, of_y, of_condition = carry
        weights, others, fingerprint = layer
        inputs_of_stages = []
        for inverse in reversed(scan.inverses):
            x, _ = inverse(weights, others, x, inputs.condition)
            inputs_of_stages.append(x)
        faithful = _agree(_fingerprint(x, scan.event_ndim), fingerprint)
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
        unroll=scan.unroll,
    )
    return _Tangents(of_weights, of_x, of_condition)


def _fingerprint(x: Array, event_ndim: int) -> Array:
    """One number of each event: a sum with signs and weights that let no two errors cancel.

    Logarithms weigh the error of an entry relative to one plus its size, so that an outlier does
    not hide what the other entries have lost.
    """
    events = x.reshape(*x.shape[: x.ndim - event_ndim], -1)
    index = jnp.arange(events.shape[-1], dtype=x.dtype)
    weights = jnp.where(index % 2 == 0, 1.0, -1.0) * (1 + (0.618034 * index) % 1)
    weights /= math.sqrt(weights.size)
    logs = jnp.sign(events) * jnp.log1p(jnp.abs(events))
    return jnp.matmul(logs, weights, precision=lax.Precision.HIGHEST)


def _agree(rebuilt: Array, kept: Array) -> Array:
    """Whether fingerprints agree to three quarters of the digits; False for NaN."""
    return jnp.abs(rebuilt - kept) <= jnp.finfo(kept.dtype).eps ** 0.75


def _event_axes(event_ndim: int) -> tuple[int, ...]:
    return tuple(range(-event_ndim, 0))


# What JAX needs to know of the two primitives. Their arguments are the leaves of (_Inputs,) and of
# (_Inputs, _Kept, _Tangents); `tree` puts them together again.

_run_p = Primitive("reversible_scan")
_push_p = Primitive("reversible_scan_tangent")


def _bind(primitive: Primitive, scan: _Scan, *arguments: Any) -> list[Array]:
    leaves, tree = jax.tree.flatten(arguments)
    outputs: list[Array] = primitive.bind(*leaves, scan=scan, tree=tree)
    return outputs


def _define(primitive: Primitive, function: Callable[..., Any]) -> None:
    """Evaluation, shapes, compilation and `vmap`."""

    def evaluate(*leaves: Array, scan: _Scan, tree: Any) -> list[Array]:
        return list(function(scan, *tree.unflatten(leaves)))

    def shapes(*leaves: Any, **static: Any) -> list[jax.core.ShapedArray]:
        structs = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
        outputs = jax.eval_shape(lambda *leaves: evaluate(*leaves, **static), *structs)
        return [jax.core.ShapedArray(output.shape, output.dtype) for output in outputs]

    def batch(
        leaves: list[Array], axes: list[int | None], *, scan: _Scan, tree: Any
    ) -> tuple[list[Array], list[int]]:
        scan, arguments = _map(scan, leaves, axes, tree)
        outputs = _bind(primitive, scan, *arguments)
        return outputs, [0, 0, 1][: len(outputs)]

    primitive.multiple_results = True
    primitive.def_impl(evaluate)
    primitive.def_abstract_eval(shapes)
    mlir.register_lowering(primitive, mlir.lower_fun(evaluate, multiple_results=True))
    batching.primitive_batchers[primitive] = batch


def _map(
    scan: _Scan, leaves: list[Array], axes: list[int | None], tree: Any
) -> tuple[_Scan, list[Any]]:
    """The layer as a function of a batch, and the arguments with their new axes in place."""
    arrays = list(zip(leaves, axes, strict=True))
    size = next(leaf.shape[axis] for leaf, axis in arrays if axis is not None)
    inputs, *rest = tree.unflatten([axis is not None for axis in axes])
    changes = rest[-1] if rest else inputs  # these have the axes of what they change
    weights = jax.tree.map(operator.or_, inputs.weights, changes.weights)
    condition = jax.tree.map(operator.or_, inputs.condition, changes.condition)
    inputs = _Inputs(weights, inputs.others, True, condition)
    mapped = [inputs, _Kept(True, True), _Tangents(weights, True, condition)]
    places = [_Inputs(1, 1, 0, 0), _Kept(0, 1), _Tangents(1, 0, 0)]

    def put(place: int, mapped: Any, arrays: Any) -> Any:
        def put_one(is_mapped: bool, array: tuple[Array, int | None]) -> Array:
            leaf, axis = array
            if not is_mapped:
                return leaf
            if axis is None:
                return jnp.repeat(jnp.expand_dims(leaf, place), size, axis=place)
            return jnp.moveaxis(leaf, axis, place)

        return jax.tree.map(put_one, mapped, arrays)

    arguments = [
        jax.tree.map(put, *group)
        for group in zip(places, mapped, tree.unflatten(arrays), strict=False)
    ]
    in_axes = jax.tree.map(lambda is_mapped: 0 if is_mapped else None, tuple(inputs))
    stages, inverses = (
        tuple(jax.vmap(function, in_axes, axis_size=size) for function in functions)
        for functions in (scan.stages, scan.inverses)
    )
    return scan._replace(stages=stages, inverses=inverses), arguments


def _differentiate_run(
    leaves: list[Array], tangents: list[Any], *, scan: _Scan, tree: Any
) -> tuple[list[Array], list[Array]]:
    (inputs,) = tree.unflatten(leaves)
    y, log_det, fingerprints = _bind(_run_p, scan, inputs)
    # Indices and keys have no tangents but zeros of their own, which nothing uses.
    (of_inputs,) = tree.unflatten([ad.instantiate_zeros(tangent) for tangent in tangents])
    changes = _Tangents(of_inputs.weights, of_inputs.x, of_inputs.condition)
    of_outputs = _bind(_push_p, scan, inputs, _Kept(y, fingerprints), changes)
    return [y, log_det, fingerprints], [*of_outputs, jnp.zeros_like(fingerprints)]


def _differentiate_push(
    leaves: list[Array], tangents: list[Any], **static: Any
) -> tuple[list[Array], list[Array]]:
    """Forward mode over forward mode, by the derivative of the plain scan."""
    # `jax.jvp` would refuse the zeros of indices and keys, so these are left out.
    given = [i for i, tangent in enumerate(tangents) if not isinstance(tangent, ad.Zero)]

    def evaluate(*changing: Array) -> list[Array]:
        changed = list(leaves)
        for i, leaf in zip(given, changing, strict=True):
            changed[i] = leaf
        return list(_push(static["scan"], *static["tree"].unflatten(changed)))

    return jax.jvp(evaluate, [leaves[i] for i in given], [tangents[i] for i in given])


def _transpose_push(
    cotangents: list[Any], *leaves: Any, scan: _Scan, tree: Any
) -> list[Array | None]:
    inputs, kept, _ = tree.unflatten(leaves)
    of_y, of_log_det = map(ad.instantiate_zeros, cotangents)
    changes = jax.tree.leaves(_pull(scan, inputs, kept, (of_y, of_log_det)))
    return [*[None] * (len(leaves) - len(changes)), *changes]


_define(_run_p, _run)
_define(_push_p, _push)
ad.primitive_jvps[_run_p] = _differentiate_run
ad.primitive_jvps[_push_p] = _differentiate_push
ad.primitive_transposes[_push_p] = _transpose_push
