"""What is inside a pytree: its arrays by name, and its nodes of a kind."""

from collections.abc import Callable
from typing import Any

import jax


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by their place in it, such as `bijector/layers/0/kernel`, in order."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    # The last step, from a flax Variable to its value, says nothing.
    return {
        jax.tree_util.keystr(place, simple=True, separator="/").removesuffix("/value"): leaf
        for place, leaf in leaves
    }


def map_named(function: Callable[[str, Any], Any], tree: Any) -> Any:
    """A pytree of the same structure, of function(name, leaf)."""
    leaves = [function(name, leaf) for name, leaf in named_leaves(tree).items()]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def holds(tree: Any, kind: type) -> bool:
    """Whether a pytree is, or has somewhere inside, a node of a kind."""
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, kind))
    return any(isinstance(node, kind) for node in nodes)
