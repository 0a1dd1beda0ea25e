"""What training asks of a model: a `Flow`, or one that holds flows among other networks."""

from typing import Self

import jax
from flax import nnx
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from flowjax_lite.core.checks import Shape, check_batch
from flowjax_lite.core.recipe import RecordedModule
from flowjax_lite.core.summary import as_html, as_text


class AbstractModel(RecordedModule):
    """A model of events, perhaps with a condition for each, that `fit` trains by some loss.

    A subclass sets the two shapes in its constructor. Its loss takes the model in the place of a
    flow; the default loss of `fit` needs a `log_prob` as that of `Flow`.

    Attributes:
        event_shape: shape of one x.
        condition_shape: shape of what comes with each x, or None for nothing.
        num_levels: events hold whole numbers from 0 to num_levels - 1; None for real numbers.
        mesh: devices among which the rows of a batch are divided, in a training step; None
            everywhere else.
    """

    event_shape: tuple[int, ...]
    condition_shape: tuple[int, ...] | None
    num_levels: int | None = None
    mesh: Mesh | None = None

    def divided(self, mesh: Mesh | None) -> Self:
        """The same model, whose batches are divided among the devices of a mesh."""
        copy = jax.tree.map(lambda leaf: leaf, self)
        copy.mesh = mesh
        return copy

    def __repr__(self) -> str:
        return as_text(type(self).__name__, self._summary())

    __str__ = __repr__  # Flax prints every array of a module

    def _repr_html_(self) -> str:
        return as_html(type(self).__name__, self._summary())

    def _rows(self, x: ArrayLike) -> tuple[Array, Shape]:
        """Events (..., *event_shape) as rows, and the leading axes that they had."""
        array = check_batch(x, self.event_shape, "x")
        batch = array.shape[: array.ndim - len(self.event_shape)]
        return array.reshape(-1, *self.event_shape), batch

    def _summary(self) -> list[tuple[str, object]]:
        """What a user wants to know of a model at first sight."""
        num_params = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(self, nnx.Param)))
        return [
            ("event shape", self.event_shape),
            ("condition shape", self.condition_shape or "no condition"),
            ("parameters", f"{num_params:,}"),
        ]
