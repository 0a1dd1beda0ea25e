"""The floor of a flow: its dense layers alone, run the same way."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import flowjax_lite as fl


class Networks(nnx.Module):
    """The conditioners of a flow without the flow: each layer's output steers the next."""

    def __init__(self, layers: nnx.Module, kept: int, unroll: int) -> None:
        self.layers = layers
        self.kept = kept
        self.unroll = unroll

    def __call__(self, x: jax.Array) -> jax.Array:
        """A scalar that depends on every layer, from one event (dim,)."""

        def apply(x: jax.Array, network: nnx.Module) -> tuple[jax.Array, jax.Array]:
            total = jnp.sum(network(x[: self.kept]), axis=0)
            return x + jnp.resize(total, x.shape), jnp.zeros(())

        return jnp.sum(jax.lax.scan(apply, x, self.layers, unroll=self.unroll)[0])


def floor_of(flow: fl.Flow) -> Networks:
    """The stacked conditioners of a flow that repeats one layer."""
    layer = flow.bijector.layers.bijectors[0]
    kept = getattr(layer.conditioner, "in_dim", flow.event_shape[0])
    return Networks(layer.conditioner, kept, flow.bijector.unroll)


def floor_calls(flow: fl.Flow, x: jax.Array | np.ndarray) -> dict[str, Callable[[], object]]:
    """What to time: the networks of a flow forward, and in a whole Adam step."""
    networks, optimizer, x = floor_of(flow), optax.adam(1e-4), jnp.asarray(x)
    forward = jax.jit(lambda net, x: jax.vmap(net)(x))
    state = optimizer.init(nnx.state(networks, nnx.Param))

    @jax.jit
    def step(networks: Networks, state: optax.OptState, x: jax.Array) -> object:
        graphdef, params, rest = nnx.split(networks, nnx.Param, ...)
        gradients = jax.grad(
            lambda params: jnp.mean(jax.vmap(nnx.merge(graphdef, params, rest))(x))
        )(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    return {"floor": lambda: forward(networks, x), "floor step": lambda: step(networks, state, x)}
