"""flowjax_lite: the flows from its public layers."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.bijectors import Chain, Coupling, MaskedAutoregressive, Repeat, Reverse
from flowjax_lite.conditioners import MADE, MLP
from flowjax_lite.distributions import StandardNormal
from flowjax_lite.transformers import Affine, RationalQuadraticSpline
from frameworks import base, in_jax
from frameworks.base import Case

_log_prob = jax.jit(lambda flow, x: flow.log_prob(x))
_sample = jax.jit(lambda flow, key, num: flow.sample(key, num), static_argnums=2)


def make_flow(case: Case, dim: int, unroll: int | None = None) -> fl.Flow:
    """The flow of a case, also for the floor of the other JAX frameworks.

    Layers stand in one round of their scan, or not, as in the named flows; or as unroll says.
    """
    unroll = unroll or (1 if case.spline else case.num_layers)
    transformer = RationalQuadraticSpline(base.NUM_BINS, base.BOUND) if case.spline else Affine()
    num_params, kept = transformer.num_params, dim // 2

    def make_layer(rngs: nnx.Rngs) -> Chain:
        if case.autoregressive:
            network = MADE(dim, num_params=num_params, hidden=case.hidden, rngs=rngs)
            return Chain([MaskedAutoregressive(transformer, network), Reverse(dim)])
        shape = (num_params, dim - kept)
        network = MLP(kept, out_shape=shape, hidden=case.hidden, rngs=rngs)
        return Chain([Coupling(transformer, network), Reverse(dim)])

    layers = Repeat(make_layer, case.num_layers, unroll=unroll, rngs=nnx.Rngs(0))
    return fl.Flow(StandardNormal(dim), layers)


class FlowjaxLite(in_jax.JaxPeer):
    """A flow of nnx modules."""

    name = "flowjax_lite"
    packages = ("jax", "jaxlib", "flax", "optax")

    def __init__(self, case: Case, dim: int) -> None:
        self.flow = make_flow(case, dim)
        self.num_parameters = in_jax.count(nnx.state(self.flow, nnx.Param))

    def calls(self, x: np.ndarray) -> dict[str, Callable[[], Any]]:
        batch, key, optimizer = (
            jax.numpy.asarray(x),
            jax.random.key(0),
            optax.adam(base.LEARNING_RATE),
        )
        step = jax.jit(fl.make_train_step(fl.negative_log_likelihood, optimizer))
        state = fl.TrainState.create(self.flow, optimizer)
        return {
            "log_prob": lambda: _log_prob(self.flow, batch),
            "step": lambda: step(state, batch)[1],
            "sample": lambda: _sample(self.flow, key, len(batch)),
        }

    def rounding_error(self, x: np.ndarray) -> float:
        graphdef, params, *constants = nnx.split(self.flow, nnx.Param, ...)
        flow = nnx.merge(graphdef, in_jax.drawn(params), *constants)
        single = _log_prob(flow, x)
        with jax.enable_x64(True):
            double = _log_prob(in_jax.in_float64(flow), x.astype(np.float64))
        return in_jax.largest_difference(single, double)

    def fit(self, x: np.ndarray) -> None:
        fl.fit(
            self.flow,
            x,
            key=jax.random.key(0),
            batch_size=base.FIT_BATCH,
            max_epochs=base.FIT_EPOCHS,
            patience=None,
            validation=base.FIT_VALIDATION,
            progress=False,
        )
