"""The distributions of a latent."""
