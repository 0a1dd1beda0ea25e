"""What to say when steps were skipped: which rows, and which parameter."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flowjax_lite.core.checks import listed
from flowjax_lite.core.pytree import named_leaves
from flowjax_lite.distributions import Flow
from flowjax_lite.losses import Loss
from flowjax_lite.training.record import FitResult
from flowjax_lite.training.rows import Rows

# A run that goes back more often will not come to an end by itself.
MOST_RETURNS = 3


class DivergedError(FloatingPointError):
    """Training could not go on; the best model so far is kept here.

    Attributes:
        result: the best model so far, as `fit` would have returned it.
    """

    def __init__(self, message: str, result: FitResult):
        super().__init__(message)
        self.result = result


def describe_rows(flow: Flow, rows: Rows, loss: Loss) -> str:
    """Name the rows whose own loss is not finite; where all are, all rows."""

    def of_one(row: Rows) -> jax.Array:
        x, condition, weights, _ = jax.tree.map(lambda array: array[None], row)
        return loss(flow, x, condition, weights, None)

    finite = np.isfinite(jax.vmap(of_one)(rows._replace(weights=jnp.ones_like(rows.weights))))
    bad = np.sort(rows.positions[~finite])
    if not bad.size:
        batch = listed(np.sort(rows.positions))
        return f"each row's loss is finite; the batch holds rows {batch}"
    return f"the loss of {len(bad)} of its {rows.num_rows} rows is not finite: {listed(bad)}"


def describe_largest(flow: Flow) -> str:
    """Name the largest parameter, or one that is not finite."""
    sizes = {
        name: float(np.abs(np.nan_to_num(np.asarray(leaf, float), nan=np.inf)).max(initial=0))
        for name, leaf in named_leaves(nnx.state(flow, nnx.Param)).items()
    }
    name = max(sizes, key=lambda name: sizes[name])
    return f"the largest parameter is {name}, of size {sizes[name]:.3g}"
