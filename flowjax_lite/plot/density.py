"""The density of a flow in the plane."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from flowjax_lite.distributions import Flow
from flowjax_lite.plot.style import BLUE, new_figure, span

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID = 200  # points on each side
_BATCH = 4000  # points whose activations are in memory at once


def density(
    flow: Flow,
    x: ArrayLike,
    *,
    condition: ArrayLike | None = None,
    columns: Sequence[str] | None = None,
    title: str | None = None,
) -> "Figure":
    """Draw the density of a flow in the plane, beside data.

    Args:
        flow: The model, of events of shape (2,).
        x: (rows, 2), data, which also decide what part of the plane is drawn.
        condition: (*condition_shape), the condition of the density, where the flow takes one.
        columns: The names of the two columns; x0 and x1 by default.
        title: The title.

    Returns:
        The figure.

    Raises:
        ValueError: The events are no points in the plane, or x are no rows of them.
    """
    x = np.asarray(x)
    if flow.event_shape != (2,) or x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(
            f"the flow has events of shape {flow.event_shape} and x has shape {x.shape}; expected "
            "(2,) and (rows, 2): draw other events with plot.pairs or plot.images"
        )
    (left, right), (bottom, top) = span(x[:, 0]), span(x[:, 1])
    grid = np.meshgrid(np.linspace(left, right, GRID), np.linspace(bottom, top, GRID))
    points = np.stack(grid, axis=-1).astype(np.float32).reshape(-1, 2)
    given = None if condition is None else jnp.asarray(condition, jnp.float32)
    log_prob = np.asarray(_log_prob(flow, points, given)).reshape(GRID, GRID)

    slope = (top - bottom) / (right - left)
    figure = new_figure((10.5, 1.2 + 4.4 * float(np.clip(slope, 0.3, 1.5))), title)
    points_axes, density_axes = figure.subplots(1, 2, sharex=True, sharey=True)
    points_axes.plot(*x.T, ".", color=BLUE, markersize=3, alpha=0.5)
    points_axes.set_title(f"{len(x):,} points")
    picture = density_axes.imshow(
        np.exp(log_prob), extent=(left, right, bottom, top), origin="lower", cmap="magma"
    )
    density_axes.set_title("density of the flow")
    figure.colorbar(picture, ax=density_axes, label="density per unit area")
    names = ("x0", "x1") if columns is None else columns
    # Of columns with very different units the plane is stretched.
    aspect = "equal" if 0.3 < slope < 3 else "auto"
    points_axes.set(xlabel=names[0], ylabel=names[1], xlim=(left, right), ylim=(bottom, top))
    density_axes.set(xlabel=names[0])
    for axes in (points_axes, density_axes):
        axes.set_aspect(aspect)
    return figure


@jax.jit
def _log_prob(flow: Flow, points: Array, condition: Array | None) -> Array:
    return jax.lax.map(lambda point: flow.log_prob(point, condition), points, batch_size=_BATCH)
