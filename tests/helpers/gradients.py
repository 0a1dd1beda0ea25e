"""Results of a transformer with all their gradients, and what a gradient keeps."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from flowjax_lite.transformers import AbstractTransformer


def with_gradients(function: Callable, params: Array, value: Array) -> tuple[Array, ...]:
    """Image and log-derivative, and the gradients of the one and the other by both arguments."""
    outputs, pull = jax.vjp(function, params, value)
    ones, zeros = jnp.ones_like(value), jnp.zeros_like(value)
    return (*outputs, *pull((ones, zeros)), *pull((zeros, ones)))


def numbers_kept(function: Callable, *inputs: Array) -> int:
    """How many numbers wait for a backward pass, in arrays at least as large as the last input."""
    _, backward = jax.vjp(function, *inputs)
    sizes = [leaf.size for leaf in jax.tree.leaves(backward)]
    return sum(size for size in sizes if size >= inputs[-1].size)


@functools.partial(jax.jit, static_argnums=0)
def everything(
    transformer: AbstractTransformer, params: Array, value: Array
) -> dict[str, tuple[Array, ...]]:
    """Each direction at the value: result, log-derivative, both on the way back, all gradients."""
    forward, inverse = transformer.forward_and_log_det, transformer.inverse_and_log_det
    results = {}
    for name, way, way_back in (("forward", forward, inverse), ("inverse", inverse, forward)):
        image, log_slope, *gradients = with_gradients(way, params, value)
        results[name] = (image, log_slope, *way_back(params, image), *gradients)
    return results
