"""flowjax_lite, with dynamics as a user would write them."""

import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import sharp_log_prob
from flax import nnx
from jax import Array
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import flowjax_lite as fl
from flowjax_lite.continuous import (
    AbstractDynamics,
    ContinuousFlow,
    Hutchinson,
    Solver,
    transport,
)
from ode.case import FREQUENCIES, HIDDEN, LEARNING_RATE, Case, Peer, rows, weights

# Before JAX starts, for which a CPU is one device; a loop there keeps only some cores busy.
jax.config.update("jax_num_cpu_devices", os.cpu_count())


class Dynamics(AbstractDynamics):
    """The velocity from the latent to the data: the network, run back in time."""

    def __init__(self, case: Case) -> None:
        self.event_shape, self.condition_shape = (case.dim,), None
        self.network = fl.conditioners.MLP(
            2 * FREQUENCIES + case.dim,
            out_shape=(case.dim,),
            hidden=HIDDEN,
            activation="tanh",
            rngs=nnx.Rngs(0),
        )
        layers = [*self.network.layers, self.network.last]
        for layer, (kernel, bias) in zip(layers, weights(case), strict=True):
            layer.kernel[...] = jnp.asarray(kernel)
            layer.bias[...] = jnp.asarray(bias)

    def __call__(self, time: Array, x: Array, condition: Array | None = None) -> Array:
        angles = np.pi * jnp.arange(1, FREQUENCIES + 1) * (1 - time)
        features = jnp.concatenate([jnp.cos(angles), jnp.sin(angles), x]).astype(x.dtype)
        return -self.network(features)


def reference(case: Case) -> np.ndarray:
    """Log-densities in float64."""
    return sharp_log_prob(_flow(case, Solver()), rows(case))


def _flow(case: Case, solver: Solver) -> fl.Flow:
    bijector = ContinuousFlow(Dynamics(case), divergence=Hutchinson(), solver=solver)
    return fl.Flow(fl.distributions.StandardNormal(case.dim), bijector)


class FlowjaxLite(Peer):
    """A compiled step on split state, whose rows are divided among all devices."""

    mesh = fl.all_devices()

    def __init__(self, case: Case) -> None:
        solver = Solver(method="dopri5", rtol=case.tolerance, atol=case.tolerance)
        whole = NamedSharding(self.mesh, PartitionSpec())
        divided = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))
        self.flow = jax.device_put(_flow(case, solver), whole)
        self.x = jax.device_put(rows(case), divided)
        optimizer = optax.adam(LEARNING_RATE)
        self.state = jax.device_put(fl.TrainState.create(self.flow, optimizer), whole)
        step = fl.make_train_step(fl.negative_log_likelihood, optimizer, mesh=self.mesh)
        self._step = jax.jit(lambda state, x, key: step(state, x, None, None, key))
        self._log_prob = jax.jit(lambda flow, x: flow.log_prob(x))

    def log_prob(self) -> np.ndarray:
        return np.asarray(self._log_prob(self.flow, self.x))

    def evaluations(self) -> float:
        def count(x: Array) -> Array:
            return transport(self.flow.bijector, x, inverse=True).num_evaluations

        return float(jnp.mean(jax.jit(jax.vmap(count))(self.x)))

    def calls(self) -> dict[str, Callable[[], object]]:
        key = jax.random.key(0)
        return {
            "log_prob": lambda: self._log_prob(self.flow, self.x),
            "step": lambda: self._step(self.state, self.x, key),
        }

    @staticmethod
    def wait(result: object) -> None:
        jax.block_until_ready(result)


class OneDevice(FlowjaxLite):
    """The same without a choice of devices, as JAX begins."""

    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
