"""Arrays of a model that are constants."""

from typing import Any

from flax import nnx
from jax import Array, lax


class Buffer(nnx.Variable[Array]):
    """An array that belongs to a model and is saved with it, but is never trained.

    What is read by `buffer[...]` has no gradient, so an optimizer of the whole module leaves it,
    too, unless it decays weights; see `training.params_only`.
    """

    def __getitem__(self, index: Any) -> Any:
        return lax.stop_gradient(super().__getitem__(index))
