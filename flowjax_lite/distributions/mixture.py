"""A mixture of flows that are built alike, evaluated as one."""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.core.buffer import Buffer
from flowjax_lite.core.checks import Shape, as_key, default_dtype
from flowjax_lite.core.recipe import RecordedModule, known_numbers
from flowjax_lite.core.summary import as_html, as_text
from flowjax_lite.distributions.flow import Flow, log_prob_in_slices

Tree = TypeVar("Tree")


class FlowMixture(RecordedModule):
    """The mixture of the densities of several flows, with the methods of a `Flow`.

        log p(x) = log Σ w_i p_i(x)

    The parameters of all members lie side by side, so that they are evaluated together. Samples
    take a sample of each member and choose among them. To keep a mixture, save its members.

    Attributes:
        stacked: one flow, of which each array has a first axis for the members.
        log_weights: (members,).
        event_shape: shape of one x.
        condition_shape: shape of one condition, or None where none is taken.
    """

    def __init__(
        self, flows: Sequence[Flow], *, weights: Sequence[float] | np.ndarray | None = None
    ) -> None:
        """Mix flows.

        Args:
            flows: at least one; all built alike, so that they differ in their arrays alone.
            weights: positive, one for each, of any sum; None weighs all alike.

        Raises:
            ValueError: there are no flows, they are not built alike, or the weights are not
                positive, one for each.
        """
        check_alike(flows)
        self.stacked = stack(flows)
        if known_numbers(weights) is not None:
            weights = one_for_each(weights, "weights", len(flows))
        log_weights = jnp.log(jnp.asarray(weights, default_dtype()))
        self.log_weights = Buffer(jax.nn.log_softmax(log_weights))
        self.event_shape: Shape = flows[0].event_shape
        self.condition_shape: Shape | None = flows[0].condition_shape

    def __repr__(self) -> str:
        return as_text(type(self).__name__, self._summary())

    __str__ = __repr__  # Flax prints every array of a module

    def _repr_html_(self) -> str:
        return as_html(type(self).__name__, self._summary())

    def _summary(self) -> list[tuple[str, object]]:
        weights = np.exp(np.asarray(self.log_weights[...]))
        rows: list[tuple[str, object]] = [
            ("members", len(self)),
            ("weights", ", ".join(f"{weight:.3g}" for weight in weights)),
        ]
        return rows + self.stacked._summary()

    def __len__(self) -> int:
        return len(self.log_weights[...])

    def member(self, i: int) -> Flow:
        """One of the flows, such as to save or to `diagnose` it.

        Raises:
            IndexError: there are not so many.
        """
        num = len(self)
        if not -num <= i < num:  # JAX would give the last one
            raise IndexError(f"member {i} of {num}; expected {-num} to {num - 1}")
        return member(self.stacked, i)

    def log_prob(
        self,
        x: ArrayLike,
        condition: ArrayLike | None = None,
        key: Array | int | None = None,
        *,
        batch_size: int | None = None,
    ) -> Array:
        """Log-density, in nats per event: see `Flow.log_prob`."""
        if batch_size is not None:
            return log_prob_in_slices(self, x, condition, key, batch_size)
        keys = None if key is None else jax.random.split(as_key(key), len(self))
        by_member = jax.vmap(lambda flow, key: flow.log_prob(x, condition, key))
        log_probs = by_member(self.stacked, keys)
        weights = jnp.expand_dims(self.log_weights[...], tuple(range(1, log_probs.ndim)))
        return _log_sum(log_probs + weights)

    def sample(
        self,
        key: Array | int,
        shape: int | Shape = (),
        condition: ArrayLike | None = None,
        *,
        temperature: ArrayLike | None = None,
    ) -> Array:
        """Independent samples: see `Flow.sample`."""
        choice_key, member_key = jax.random.split(as_key(key))
        keys = jax.random.split(member_key, len(self))

        def sample(flow: Flow, key: Array) -> Array:
            return flow.sample(key, shape, condition, temperature=temperature)

        samples = jax.vmap(sample)(self.stacked, keys)
        batch = samples.shape[1 : samples.ndim - len(self.event_shape)]
        choice = jax.random.categorical(choice_key, self.log_weights[...], shape=batch)
        choice = choice.reshape((1, *batch, *(1 for _ in self.event_shape)))
        chosen = jnp.take_along_axis(samples, choice, axis=0)
        return jnp.squeeze(chosen, axis=0)

    def sample_and_log_prob(
        self, key: Array | int, shape: int | Shape = (), condition: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """Independent samples and their log-densities: see `Flow.sample_and_log_prob`."""
        x = self.sample(key, shape, condition)
        return x, self.log_prob(x, condition)


def one_for_each(values: Sequence[float] | np.ndarray | None, name: str, num: int) -> np.ndarray:
    """Positive numbers, one for each of several flows; None is 1 for all.

    Raises:
        ValueError: they are not positive, or not so many.
    """
    given = np.ones(num) if values is None else np.asarray(values, float)
    if given.shape != (num,) or not (np.isfinite(given) & (given > 0)).all():
        raise ValueError(f"{name} are {values}; expected {num} positive numbers, one for each flow")
    return given


def _log_sum(terms: Array) -> Array:
    """log Σ exp over the first axis, with a gradient that is no NaN where terms are -inf.

    A term of -inf has no part in the gradient; where all are, it is that of their mean.
    """
    empty = jnp.all(terms == -jnp.inf, axis=0)
    some = jnp.where(empty[None], 0.0, jnp.where(terms == -jnp.inf, -jnp.inf, terms))
    return jnp.where(empty, jnp.mean(terms, axis=0), jax.nn.logsumexp(some, axis=0))


def check_alike(flows: Sequence[Flow]) -> None:
    """Check that flows differ in the values of their arrays alone.

    Raises:
        ValueError: there are no flows, or they are not built alike.
    """
    if not flows:
        raise ValueError("flows is empty; expected at least one")
    for i, flow in enumerate(flows):
        if _built(flow) != _built(flows[0]):
            raise ValueError(
                f"flows[{i}] is not built as flows[0] is: build all by the same call, with other "
                f"rngs alone, so that they differ in their arrays"
            )


def stack(trees: Sequence[Tree]) -> Tree:
    """One pytree, such as a flow, whose arrays are those of several alike, side by side."""
    stacked: Tree = jax.tree.map(lambda *arrays: jnp.stack(arrays), *trees)
    return stacked


def member(stacked: Flow, i: int) -> Flow:
    """One of the flows that were stacked."""
    flow: Flow = jax.tree.map(lambda array: array[i], stacked)
    return flow


def _built(flow: Flow) -> tuple[Any, list[tuple[Shape, np.dtype]]]:
    """All that must agree for flows to lie side by side."""
    leaves, structure = jax.tree.flatten(flow)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]
