"""What networks have in common that see rows one after the other, as MADE and attention do."""

from abc import abstractmethod
from typing import Any

import jax.numpy as jnp
from jax import Array

from flowjax_lite.conditioners.base import AbstractConditioner
from flowjax_lite.core.checks import Shape


class AbstractCausal(AbstractConditioner):
    """A network whose output i sees the rows before i alone, evaluated at once or step by step.

    A row is an entry of a vector, (dim,), or a token, of an array (tokens, features).

    Attributes:
        in_shape: shape of the input, its rows on the first axis.
        num_params: number of outputs for each number of the input.
        condition_shape: shape of the condition, or None where none is taken.
    """

    in_shape: Shape
    num_params: int

    @abstractmethod
    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """Parameters of all rows at once.

        Args:
            x: (rows, ...).
            condition: (condition_dim,).

        Returns:
            (num_params, rows, ...); those of row i depend on x[:i] and the condition.
        """

    def chunk(
        self, steps: range, x: Array, activations: Any, condition: Array | None = None
    ) -> tuple[Any, Array]:
        """Parameters of the rows of one chunk, all at once, where those before it are known.

        A network that keeps nothing for later chunks, as here, takes a pass over all rows.

        Args:
            steps: the rows of the chunk.
            x: (steps.stop, ...), the rows before the chunk, and its own.
            activations: those of the chunks before, joined on axis 0.
            condition: (condition_dim,).

        Returns:
            The chunk's activations, and (num_params, steps, ...); those of row i depend on x[:i]
            and the condition.
        """
        missing = jnp.zeros((self.in_shape[0] - len(x), *x.shape[1:]), x.dtype)
        params = self(jnp.concatenate([x, missing]), condition)
        return self.no_activations(), params[:, steps.start : steps.stop]

    @abstractmethod
    def no_activations(self) -> Any:
        """The activations before the first step: none."""

    @abstractmethod
    def begin(
        self, steps: range, x: Array, activations: Any, condition: Array | None = None
    ) -> tuple[Any, Any]:
        """Prepare the steps of one chunk of a sequential evaluation.

        Args:
            steps: the rows of the chunk, one a step.
            x: (steps.start, ...), the rows before the chunk.
            activations: those of the chunks before, joined on axis 0.
            condition: (condition_dim,).

        Returns:
            Room for the activations of this chunk, and what `step` needs, stacked over steps.
        """

    @abstractmethod
    def step(self, fresh: Any, x: Array, blocks: Any, activations: Any) -> tuple[Any, Array]:
        """Compute the units that one step completes, and the parameters of its row.

        Args:
            fresh: the chunk's activations; those of the steps before are filled in.
            x: (steps, ...), the chunk's rows; those from this step on are ignored.
            blocks: this step's entry of what `begin` returned.
            activations: those of the chunks before, as `begin` had them.

        Returns:
            The chunk's activations with this step's units, and (num_params, ...).
        """
