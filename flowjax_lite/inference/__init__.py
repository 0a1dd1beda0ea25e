"""Using a flow: pure functions on top of `fit` and `fit_density`."""

from flowjax_lite.inference.latent import latent_log_density
from flowjax_lite.inference.mcmc import (
    IndependenceInfo,
    IndependenceSampler,
    IndependenceState,
    independence_step,
)

__all__ = [
    "IndependenceInfo",
    "IndependenceSampler",
    "IndependenceState",
    "independence_step",
    "latent_log_density",
]
