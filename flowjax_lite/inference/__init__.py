"""Using a flow: pure functions on top of `fit` and `fit_density`."""

from flowjax_lite.inference.latent import latent_log_density

__all__ = ["latent_log_density"]
