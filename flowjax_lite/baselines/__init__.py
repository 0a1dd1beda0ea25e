"""Densities to compare a flow with: a Gaussian, a mixture of Gaussians, kernels.

All are fitted to training rows and choose their settings on validation rows. A condition c is put
beside the event y, and log p(y | c) = log p(c, y) - log p(c): for the Gaussian that is linear
regression, for the others the ratio of the joint to the marginal density.
"""

from flowjax_lite.baselines.examples import Baseline, Examples
from flowjax_lite.baselines.gaussian import Mixture, fit_gaussian, fit_mixture
from flowjax_lite.baselines.kernels import Kernels, fit_kernels

__all__ = [
    "Baseline",
    "Examples",
    "Kernels",
    "Mixture",
    "fit_gaussian",
    "fit_kernels",
    "fit_mixture",
]
