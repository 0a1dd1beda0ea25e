"""Densities to compare a flow with: a Gaussian, kernels, a mixture."""

from flowjax_lite.baselines.gaussian_kde import Gaussian, Kernels, fit_gaussian, fit_kernels
from flowjax_lite.baselines.mixture import Mixture, fit_mixture

__all__ = ["Gaussian", "Kernels", "Mixture", "fit_gaussian", "fit_kernels", "fit_mixture"]
