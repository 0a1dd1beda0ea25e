"""Using a flow: pure functions on top of `fit` and `fit_density`."""

from flowjax_lite.inference import targets
from flowjax_lite.inference.anomaly import anomaly_scores, p_values, typicality
from flowjax_lite.inference.bayesian import (
    BayesianClassifier,
    MaxPool,
    MNFConv,
    MNFLinear,
    bayesian_loss,
)
from flowjax_lite.inference.denoising import denoise
from flowjax_lite.inference.hybrid import Hybrid, RiskCoverage, hybrid_loss, risk_coverage
from flowjax_lite.inference.importance import ImportanceSamples, importance_sample
from flowjax_lite.inference.inpainting import inpaint
from flowjax_lite.inference.interpolation import interpolate
from flowjax_lite.inference.latent import latent_log_density
from flowjax_lite.inference.likelihood import likelihood_target
from flowjax_lite.inference.mcmc import (
    IndependenceInfo,
    IndependenceSampler,
    IndependenceState,
    independence_step,
)
from flowjax_lite.inference.observation import (
    Posterior,
    TruncatedPrior,
    leakage,
    posterior,
    truncated_prior,
)
from flowjax_lite.inference.scales import scales
from flowjax_lite.inference.simulation import simulate
from flowjax_lite.inference.start import laplace
from flowjax_lite.inference.vae import VAE, elbo

__all__ = [
    "VAE",
    "BayesianClassifier",
    "Hybrid",
    "ImportanceSamples",
    "IndependenceInfo",
    "IndependenceSampler",
    "IndependenceState",
    "MNFConv",
    "MNFLinear",
    "MaxPool",
    "Posterior",
    "RiskCoverage",
    "TruncatedPrior",
    "anomaly_scores",
    "bayesian_loss",
    "denoise",
    "elbo",
    "hybrid_loss",
    "importance_sample",
    "independence_step",
    "inpaint",
    "interpolate",
    "laplace",
    "latent_log_density",
    "leakage",
    "likelihood_target",
    "p_values",
    "posterior",
    "risk_coverage",
    "scales",
    "simulate",
    "targets",
    "truncated_prior",
    "typicality",
]
