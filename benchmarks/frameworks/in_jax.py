"""What the JAX frameworks share."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from frameworks.base import PARAMETER_SCALE, Peer

Tree = TypeVar("Tree")

_compilations: list[str] = []


def _note(event: str, duration: float, **details: Any) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        _compilations.append(event)


jax.monitoring.register_event_duration_secs_listener(_note)


class JaxPeer(Peer):
    """A flow whose calls XLA compiles."""

    compiled = True
    wait = staticmethod(jax.block_until_ready)

    @staticmethod
    def compilations() -> int:
        return len(_compilations)


def count(params: object) -> int:
    """Number of scalars in a tree of arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def drawn(params: Tree) -> Tree:
    """Parameters to measure rounding errors with."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: jnp.asarray(PARAMETER_SCALE * rng.standard_normal(leaf.shape), leaf.dtype),
        params,
    )


def in_float64(tree: Tree) -> Tree:
    """Floating-point arrays cast; call it inside `jax.enable_x64(True)`."""
    return jax.tree.map(
        lambda leaf: leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf,
        tree,
    )


def largest_difference(single: jax.Array, double: jax.Array) -> float:
    """Over all rows."""
    return float(np.max(np.abs(np.asarray(single, np.float64) - np.asarray(double))))
