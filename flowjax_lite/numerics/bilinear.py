"""Products that JAX is told of as primitives, so that they see all events of a batch at once."""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def bilinear_primitive(
    name: str,
    function: Callable[..., Array],
    *,
    by_first: Callable[..., Array],
    by_second: Callable[..., Array],
    batch: Callable[..., tuple[Array, int]],
) -> Primitive:
    """A function of two arrays that is linear in each, as a primitive.

    Args:
        name: what programs call it.
        function: takes both arrays, and options by name.
        by_first: the gradient by the first array, from that by the output and both arrays, of
            which the first is not known beyond its `aval`.
        by_second: the same by the second.
        batch: what `vmap` does: takes both arrays, the axis on which each is mapped or None, and
            the options; returns the output, and the axis on which it is mapped.
    """

    def shape(first: Any, second: Any, **options: Any) -> jax.core.ShapedArray:
        structs = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in (first, second)]
        output = jax.eval_shape(lambda *arrays: function(*arrays, **options), *structs)
        return jax.core.ShapedArray(output.shape, output.dtype)

    primitive = Primitive(name)
    primitive.def_impl(function)
    primitive.def_abstract_eval(shape)
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False))
    batching.primitive_batchers[primitive] = batch
    ad.defbilinear(primitive, by_first, by_second)
    return primitive
