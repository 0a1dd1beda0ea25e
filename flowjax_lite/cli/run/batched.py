"""Log-densities and samples of many rows, a batch at a time, with one compilation for all."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx

from flowjax_lite.core.checks import check_memory
from flowjax_lite.distributions import Flow

BATCH = 1000


def log_prob(flow: Flow, x: np.ndarray, condition: np.ndarray | None = None) -> np.ndarray:
    """Evaluate a flow on many rows.

    Args:
        flow: The flow.
        x: Events, `(n, d)`.
        condition: Conditions, `(n, c)`, or None.

    Returns:
        Log-densities in nats, `(n,)`, float64.
    """
    graph, state = nnx.split(flow)
    parts = [
        np.asarray(log_prob_step(graph, state, *batch), np.float64)
        for batch in _batches(x, condition)
    ]
    return np.concatenate(parts)[: len(x)]


def sample(flow: Flow, num: int, *, seed: int, condition: np.ndarray | None = None) -> np.ndarray:
    """Draw many samples.

    Args:
        flow: The flow.
        num: The number of samples for each condition.
        seed: The seed.
        condition: Conditions, `(n, c)`, or None.

    Returns:
        Samples, `(num, d)`, or `(n * num, d)` where those of one condition follow each other.

    Raises:
        ValueError: They do not fit in memory.
    """
    total = num if condition is None else num * len(condition)
    check_memory(4 * total * math.prod(flow.event_shape), f"{total:,} samples")
    samples = np.empty((total, *flow.event_shape), np.float32)
    graph, state = nnx.split(flow)
    key = jax.random.key(seed)
    for index, start in enumerate(range(0, total, BATCH)):
        rows = np.arange(start, start + BATCH) % total
        given = None if condition is None else condition[rows // num]
        drawn = sample_step(graph, state, jax.random.fold_in(key, index), BATCH, given)
        samples[start : start + BATCH] = drawn[: total - start]
    return samples


@partial(jax.jit, static_argnums=0)
def log_prob_step(graph: Any, state: Any, x: Any, condition: Any) -> jax.Array:
    """Log-densities of one batch, from a flow that was split once."""
    return nnx.merge(graph, state).log_prob(x, condition)


@partial(jax.jit, static_argnums=(0, 3))
def sample_step(graph: Any, state: Any, key: jax.Array, num: int, condition: Any) -> jax.Array:
    """Samples of one batch, one for each condition or `num` without conditions."""
    flow = nnx.merge(graph, state)
    return flow.sample(key, (num,) if condition is None else (), condition)


def _batches(
    x: np.ndarray, condition: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield batches of `BATCH` rows; the last is filled up with rows from the start."""
    for start in range(0, len(x), BATCH):
        rows = np.arange(start, start + BATCH) % len(x)
        yield x[rows], None if condition is None else condition[rows]
