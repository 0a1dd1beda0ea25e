"""What residual layers of low rank must stand, whatever their parameters."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree

from flowjax_lite.bijectors import AbstractBijector

# Near and far, both in some entries and in all.
EVENTS = np.random.default_rng(0).normal(size=(40, 3)) * np.repeat([1, 10, 100, 1], 10)[:, None]
EVENTS[30:, 0] *= 100


def with_params(layer: AbstractBijector, params: Array | np.ndarray) -> AbstractBijector:
    """The layer with these parameters, all in one vector."""
    graph, old, rest = nnx.split(layer, nnx.Param, ...)
    flat, unravel = ravel_pytree(old)
    return nnx.merge(graph, unravel(jnp.asarray(params, flat.dtype).reshape(flat.shape)), rest)


def random_params(layer: AbstractBijector, scale: float, seed: int) -> np.ndarray:
    """Parameters of that size, in one vector."""
    flat, _ = ravel_pytree(nnx.state(layer, nnx.Param))
    return scale * np.random.default_rng(seed).normal(size=flat.size)


@jax.jit
def both_ways(layer: AbstractBijector, x: Array) -> tuple[Array, ...]:
    """Each direction on every event, and back: the events, and sums of the log-determinants."""
    y, forward = jax.vmap(layer.forward_and_log_det)(x)
    back, backward = jax.vmap(layer.inverse_and_log_det)(y)
    z, first = jax.vmap(layer.inverse_and_log_det)(x)
    again, second = jax.vmap(layer.forward_and_log_det)(z)
    return back, again, forward + backward, first + second


def check_round_trips(layer: AbstractBijector, tolerance: float, *, seeds: int = 1, scale: float):
    """Both orders of the two directions give the event back, relative to its size."""
    x = jnp.asarray(EVENTS, jnp.result_type(float))
    for seed in range(seeds):
        trained = with_params(layer, random_params(layer, scale, seed))
        *events, first, second = both_ways(trained, x)
        for back in events:
            error = jnp.max(jnp.abs(back - x), axis=1) / (1 + jnp.max(jnp.abs(x), axis=1))
            assert jnp.max(error) < tolerance, f"seed {seed}"  # also false for NaN
        for log_det in (first, second):
            assert jnp.max(jnp.abs(log_det)) < 10 * tolerance, f"seed {seed}"


def check_extreme_params(layer: AbstractBijector) -> None:
    """Values and gradients are finite, as networks give parameters of any size."""
    x = jnp.asarray(EVENTS[:3], jnp.float32)

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1))
    def score(params: Array, x: Array) -> Array:
        trained, total = with_params(layer, params), jnp.zeros(())
        for function in (trained.forward_and_log_det, trained.inverse_and_log_det):
            y, log_det = jax.vmap(function)(x)
            total += jnp.sum(jnp.tanh(y)) + jnp.sum(log_det)
        return total

    for size in (1e3, 1e20):
        for seed in range(3):
            params = jnp.asarray(random_params(layer, size, seed), jnp.float32)
            message = f"size {size}, seed {seed}"
            chex.assert_tree_all_finite(score(params, x), custom_message=message)


def gradient_of_density(layer: AbstractBijector, *, steps: int = 0) -> tuple[np.ndarray, ...]:
    """The parameters after steps of gradient descent on skewed data, and the gradient there.

    The latent has another scale in each entry, as a normal of one scale ignores rotations.
    """
    x = np.exp(0.5 * np.random.default_rng(1).normal(size=(100, 3))) * [1.0, 2.0, 0.5]

    @jax.jit
    @jax.grad
    def gradient(params: Array) -> Array:
        trained = with_params(layer, params)
        z, log_det = jax.vmap(trained.inverse_and_log_det)(jnp.asarray(x, params.dtype))
        precisions = jnp.asarray([[0.5, 1.0, 2.0]], params.dtype)
        return jnp.mean(0.5 * jnp.sum(precisions * z**2, axis=1) - log_det)

    params, _ = ravel_pytree(nnx.state(layer, nnx.Param))
    for _ in range(steps):
        params -= 0.05 * gradient(params)
    return np.asarray(params), np.asarray(gradient(params))
