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

    def __init__(self, layers: nnx.Module, kept: int) -> None:
        self.layers = layers
        self.kept = kept

    def __call__(self, x: jax.Array) -> jax.Array:
        """A scalar that depends on every layer, from one event (dim,)."""

        def apply(x: jax.Array, network: nnx.Module) -> tuple[jax.Array, jax.Array]:
            total = jnp.sum(network(x[: self.kept]), axis=0)
            return x + jnp.resize(total, x.shape), jnp.zeros(())

        return jnp.sum(jax.lax.scan(apply, x, self.layers)[0])


def floor_of(flow: fl.Flow) -> Networks:
    """The stacked conditioners of a flow that repeats one layer."""
    layer = flow.bijector.layers.bijectors[0]
    kept = getattr(layer.conditioner, "in_dim", flow.event_shape[0])
    return Networks(layer.conditioner, kept)


def floor_calls(flow: fl.Flow, x: jax.Array | np.ndarray) -> dict[str, Callable[[], object]]:
    """What to time: the networks of a flow forward, and in a whole Adam step."""
    networks, optimizer, x = floor_of(flow), optax.adam(1e-4), jnp.asarray(x)
    forward = jax.jit(lambda net, x: jax.vmap(net)(x))
    step = jax.jit(fl.make_train_step(lambda net, x: jnp.mean(jax.vmap(net)(x)), optimizer))
    state = fl.TrainState.create(networks, optimizer)
    return {"floor": lambda: forward(networks, x), "floor step": lambda: step(state, x)[1]}
