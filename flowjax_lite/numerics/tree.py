"""The arrays of a pytree by name."""

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
