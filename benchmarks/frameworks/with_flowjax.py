"""flowjax: its ready-made flows, its training step and its `fit_to_data`."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import AbstractDistribution, StandardNormal
from flowjax.flows import coupling_flow, masked_autoregressive_flow
from flowjax.train import fit_to_data, step
from flowjax.train.losses import MaximumLikelihoodLoss

from frameworks import base, in_jax
from frameworks.base import Case


@eqx.filter_jit
def _log_prob(flow: AbstractDistribution, x: jax.Array) -> jax.Array:
    return flow.log_prob(x)


@eqx.filter_jit
def _sample(flow: AbstractDistribution, key: jax.Array) -> jax.Array:
    return flow.sample(key, (base.BATCH,))


def make_flow(case: Case, dim: int) -> AbstractDistribution:
    """The flow of a case."""
    # K knots inside the interval and its two ends make K + 1 bins.
    spline = RationalQuadraticSpline(knots=base.NUM_BINS - 1, interval=base.BOUND)
    make = masked_autoregressive_flow if case.autoregressive else coupling_flow
    return make(
        jax.random.key(0),
        base_dist=StandardNormal((dim,)),
        transformer=spline if case.spline else None,
        flow_layers=case.num_layers,
        nn_width=case.hidden[0],
        nn_depth=len(case.hidden),
    )


class Flowjax(in_jax.JaxPeer):
    """A flow of equinox modules."""

    name = "flowjax"
    packages = ("flowjax", "equinox")
    difference = (
        "flowjax permutes at random where the others reverse, and its splines have more "
        "parameters: they learn the slopes at both ends, too."
    )

    def __init__(self, case: Case, dim: int) -> None:
        self.case, self.dim = case, dim
        self.flow = make_flow(case, dim)
        self.params, self.static = eqx.partition(self.flow, eqx.is_inexact_array)
        self.num_parameters = in_jax.count(self.params)

    def calls(self, x: np.ndarray) -> dict[str, Callable[[], Any]]:
        batch, key = jax.numpy.asarray(x), jax.random.key(0)
        optimizer, loss = optax.adam(base.LEARNING_RATE), MaximumLikelihoodLoss()
        opt_state = optimizer.init(self.params)

        def train() -> jax.Array:
            return step(
                self.params,
                self.static,
                batch,
                optimizer=optimizer,
                opt_state=opt_state,
                loss_fn=loss,
            )[2]

        return {
            "log_prob": lambda: _log_prob(self.flow, batch),
            "step": train,
            "sample": lambda: _sample(self.flow, key),
        }

    def rounding_error(self, x: np.ndarray) -> float:
        flow = eqx.combine(in_jax.drawn(self.params), self.static)
        single = _log_prob(flow, x)
        arrays = eqx.filter(flow, eqx.is_array)
        with jax.enable_x64(True):
            # Built again, because its layers remember the precision in which they were built.
            static = eqx.filter(make_flow(self.case, self.dim), eqx.is_array, inverse=True)
            flow = eqx.combine(in_jax.in_float64(arrays), static)
            double = _log_prob(flow, x.astype(np.float64))
        return in_jax.largest_difference(single, double)

    def fit(self, x: np.ndarray) -> None:
        fit_to_data(
            jax.random.key(0),
            self.flow,
            x,
            batch_size=base.FIT_BATCH,
            max_epochs=base.FIT_EPOCHS,
            max_patience=base.FIT_EPOCHS,
            val_prop=base.FIT_VALIDATION,
            show_progress=False,
        )
