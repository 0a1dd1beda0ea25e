"""A flow beside data: samples of vectors or images, and the density in the plane."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from flowjax_lite.distributions import Flow
from flowjax_lite.plot.style import BLUE, GREY, new_figure, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_COLUMNS = 6
GRID = 200  # points on each side of the plane
_BATCH = 4000  # points whose activations are in memory at once


def pairs(
    x: ArrayLike,
    samples: ArrayLike,
    *,
    columns: Sequence[str] | None = None,
    title: str | None = None,
) -> "Figure":
    """Draw every pair of columns: data below the diagonal, samples above, both on it.

    Args:
        x: (rows, dim), data; the first six columns are drawn.
        samples: (num, dim), samples of a flow, best as many as there are rows.
        columns: The names of the columns; x0, x1, ... by default.
        title: The title.

    Returns:
        The figure.

    Raises:
        ValueError: x or samples are not rows of as many columns.
    """
    x, samples = np.asarray(x), np.asarray(samples)
    if x.ndim != 2 or samples.ndim != 2 or x.shape[1] != samples.shape[1]:
        raise ValueError(
            f"x has shape {x.shape} and samples {samples.shape}; expected (rows, dim) and (num, "
            "dim): draw events of a higher rank with plot.images"
        )
    names = [f"x{i}" for i in range(x.shape[1])] if columns is None else list(columns)
    num = min(len(names), MAX_COLUMNS)
    if len(names) > num:
        title = f"{title or ''}\nfirst {num} of {len(names)} columns".strip()
    size = {1: 5.0, 2: 3.4, 3: 2.8}.get(num, 2.1) * num
    figure = new_figure((size + 0.6, size + 0.6), title)
    grid: Any = figure.subplots(num, num, squeeze=False, sharex="col")
    for i, j in np.ndindex(num, num):
        axes = grid[i, j]
        if i == j:
            _histogram(axes, x[:, i], samples[:, i])
            axes.set_yticks([])
        else:
            points, colour = (x, GREY) if i > j else (samples, BLUE)
            axes.plot(*points[:, [j, i]].T, ".", color=colour, markersize=3, alpha=0.5)
            axes.set(xlim=span(x[:, j]), ylim=span(x[:, i]))
            axes.locator_params(axis="y", nbins=4)
            axes.tick_params(labelleft=j == 0)
    for axes, name in zip(grid[-1], names, strict=False):
        axes.locator_params(axis="x", nbins=4)
        axes.set_xlabel(name)
    for axes, name in zip(grid[1:, 0], names[1:], strict=False):
        axes.set_ylabel(name)
    grid[0, 0].set_ylabel("relative frequency" if num == 1 else names[0])
    figure.align_ylabels(grid[:, 0])
    where = ("", "") if num == 1 else (" (below the diagonal)", " (above)")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    labels = [label + place for label, place in zip(labels, where, strict=True)]
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def images(panels: Mapping[str, ArrayLike], *, title: str | None = None) -> "Figure":
    """Draw images in grids side by side, such as real ones beside samples.

    Args:
        panels: For each grid, its name and its images, (num, height, width) or (num, height,
            width, channels) with one channel or three, from 0 (white; of three channels, black)
            to 1.
        title: The title.

    Returns:
        The figure.

    Raises:
        ValueError: An array is not of such a shape.
    """
    figure = new_figure((5.0 * len(panels), 5.4), title)
    for axes, (name, values) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        axes.imshow(_grid(np.asarray(values), name), cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(name)
        axes.set_axis_off()
    return figure


def _grid(values: np.ndarray, name: str) -> np.ndarray:
    """Lay images out in rows and columns with a thin line between them."""
    if values.ndim == 3:
        values = values[..., None]
    if values.ndim != 4 or values.shape[-1] not in (1, 3) or not len(values):
        raise ValueError(
            f"{name!r} has shape {values.shape}; expected (num, height, width) or (num, height, "
            "width, channels) with 1 or 3 channels"
        )
    num, height, width, channels = values.shape
    across = int(np.ceil(np.sqrt(num)))
    down = -(-num // across)
    line = 0.15 if channels == 1 else 0.85
    canvas = np.full((down * (height + 1) + 1, across * (width + 1) + 1, channels), line)
    for index, image in enumerate(values):
        top, left = index // across * (height + 1) + 1, index % across * (width + 1) + 1
        canvas[top : top + height, left : left + width] = np.clip(image, 0, 1)
    return canvas[..., 0] if channels == 1 else canvas


def _histogram(axes: "Axes", x: np.ndarray, samples: np.ndarray) -> None:
    bins = np.linspace(*span(x), int(np.clip(np.sqrt(len(x)), 10, 40)))
    common: dict[str, Any] = {"bins": bins, "density": True}
    axes.hist(x, color=GREY, alpha=0.45, label="data", **common)
    axes.hist(samples, color=BLUE, histtype="step", linewidth=1.6, label="samples", **common)


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
