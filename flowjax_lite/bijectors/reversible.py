"""A scan over invertible layers whose backward pass keeps no layer's input.

The input of each layer is rebuilt from its output, by the layer's other direction, so the memory
of a gradient does not grow with depth. Reversible residual networks: Gomez, Ren, Urtasun and
Grosse, 2017, arXiv:1707.04585.

A rule by `jax.custom_vjp` would be shorter, but under `vmap` it makes one gradient of the weights
for each event before it sums them. The two primitives below are mapped before they are
differentiated, as a plain scan is: the layer itself becomes a function of a batch, and products
in its pullback sum over events. All modes of differentiation work.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from flowjax_lite.bijectors.layer_scan import Inputs, Kept, Scan, Tangents, pull, push, run

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
) -> tuple[Array, Array]:
    """Run layers one after the other; in a backward pass, run them back.

    A number is kept of each layer's input, and the input that is rebuilt must agree with it to
    half of the digits. Where it does not, because a layer is too badly conditioned to be run
    back, the event's gradient is NaN.

    Args:
        stages: what a layer does to its input, one after the other, each with its inverse. Where
            a stage and its inverse share work on equal numbers, such as a network, XLA finds it.
        layers: a pytree stacked over layers on axis 0.
        x: one event.
        condition: what all layers share, or None.
        length: number of layers.
        reverse: whether the last layer comes first.

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

    scan = Scan(
        stages=tuple(on_parts(stage) for stage, _ in stages),
        inverses=tuple(on_parts(inverse) for _, inverse in stages),
        length=length,
        reverse=reverse,
        event_ndim=x.ndim,
    )
    y, log_det, _ = _bind(_run_p, scan, Inputs(weights, others, x, condition))
    return y, log_det


# What JAX needs to know of the two primitives. Their arguments are the leaves of (Inputs,) and of
# (Inputs, Kept, Tangents); `tree` puts them together again.

_run_p = Primitive("reversible_scan")
_push_p = Primitive("reversible_scan_tangent")


def _bind(primitive: Primitive, scan: Scan, *arguments: Any) -> list[Array]:
    leaves, tree = jax.tree.flatten(arguments)
    outputs: list[Array] = primitive.bind(*leaves, scan=scan, tree=tree)
    return outputs


def _define(primitive: Primitive, function: Callable[..., Any]) -> None:
    """Evaluation, shapes, compilation and `vmap`."""

    def evaluate(*leaves: Array, scan: Scan, tree: Any) -> list[Array]:
        return list(function(scan, *tree.unflatten(leaves)))

    def shapes(*leaves: Any, **static: Any) -> list[jax.core.ShapedArray]:
        structs = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
        outputs = jax.eval_shape(lambda *leaves: evaluate(*leaves, **static), *structs)
        return [jax.core.ShapedArray(output.shape, output.dtype) for output in outputs]

    def batch(
        leaves: list[Array], axes: list[int | None], *, scan: Scan, tree: Any
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
    scan: Scan, leaves: list[Array], axes: list[int | None], tree: Any
) -> tuple[Scan, list[Any]]:
    """The layer as a function of a batch, and the arguments with their new axes in place."""
    arrays = list(zip(leaves, axes, strict=True))
    size = next(leaf.shape[axis] for leaf, axis in arrays if axis is not None)
    inputs, *rest = tree.unflatten([axis is not None for axis in axes])
    changes = rest[-1] if rest else inputs  # these have the axes of what they change
    weights = jax.tree.map(operator.or_, inputs.weights, changes.weights)
    condition = jax.tree.map(operator.or_, inputs.condition, changes.condition)
    inputs = Inputs(weights, inputs.others, True, condition)
    mapped = [inputs, Kept(True, True), Tangents(weights, True, condition)]
    places = [Inputs(1, 1, 0, 0), Kept(0, 1), Tangents(1, 0, 0)]

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
    leaves: list[Array], tangents: list[Any], *, scan: Scan, tree: Any
) -> tuple[list[Array], list[Array]]:
    (inputs,) = tree.unflatten(leaves)
    y, log_det, fingerprints = _bind(_run_p, scan, inputs)
    # Indices and keys have no tangents but zeros of their own, which nothing uses.
    (of_inputs,) = tree.unflatten([ad.instantiate_zeros(tangent) for tangent in tangents])
    changes = Tangents(of_inputs.weights, of_inputs.x, of_inputs.condition)
    of_outputs = _bind(_push_p, scan, inputs, Kept(y, fingerprints), changes)
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
        return list(push(static["scan"], *static["tree"].unflatten(changed)))

    return jax.jvp(evaluate, [leaves[i] for i in given], [tangents[i] for i in given])


def _transpose_push(
    cotangents: list[Any], *leaves: Any, scan: Scan, tree: Any
) -> list[Array | None]:
    inputs, kept, _ = tree.unflatten(leaves)
    of_y, of_log_det = map(ad.instantiate_zeros, cotangents)
    changes = jax.tree.leaves(pull(scan, inputs, kept, (of_y, of_log_det)))
    return [*[None] * (len(leaves) - len(changes)), *changes]


_define(_run_p, run)
_define(_push_p, push)
ad.primitive_jvps[_run_p] = _differentiate_run
ad.primitive_jvps[_push_p] = _differentiate_push
ad.primitive_transposes[_push_p] = _transpose_push
