"""Pictures of data, samples and training, drawn with matplotlib's object interface."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowjax_lite.cli.errors import CommandError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from flowjax_lite.cli.report import ComparisonRow

# Colours that people with the common kinds of colour blindness tell apart (Okabe and Ito).
BLUE, ORANGE, GREEN, PINK, SKY, RED = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
)
PALETTE = (BLUE, RED, GREEN, PINK, ORANGE, SKY)
GREY = "#7A7A7A"
MAX_COLUMNS = 6


def require_matplotlib() -> None:
    """Raise an error that names the extra, unless matplotlib is there."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise CommandError('pictures need matplotlib: pip install "flowjax-lite[cli]"') from None


def save(figure: "Figure", path: str | Path) -> None:
    """Write a figure as PNG."""
    figure.savefig(path, dpi=150)


def image_samples(
    real: np.ndarray, samples: np.ndarray, *, image_shape: tuple[int, int], title: str
) -> "Figure":
    """Draw images in two grids, real ones beside samples.

    Args:
        real: Real images in [0, 1], `(n, height * width)`.
        samples: Samples, `(n, height * width)`.
        image_shape: Height and width.
        title: The title.

    Returns:
        The figure.
    """
    figure = _figure((10, 5.4), title)
    panels = {f"{len(real)} held-out images": real, f"{len(samples)} samples": samples}
    for axes, (name, images) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        axes.imshow(_grid(images, image_shape), cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(name)
        axes.set_axis_off()
    return figure


def pairs(data: np.ndarray, samples: np.ndarray, *, columns: Sequence[str], title: str) -> "Figure":
    """Draw every pair of columns: data below the diagonal, samples above, both on it.

    Args:
        data: Rows of data, `(n, d)`; the first six columns are drawn.
        samples: As many samples, `(n, d)`.
        columns: The names of the columns.
        title: The title.

    Returns:
        The figure.
    """
    num = min(len(columns), MAX_COLUMNS)
    if len(columns) > num:
        title += f"\nfirst {num} of {len(columns)} columns"
    size = {1: 5.0, 2: 3.4, 3: 2.8}.get(num, 2.1) * num
    figure = _figure((size + 0.6, size + 0.6), title)
    grid: Any = figure.subplots(num, num, squeeze=False, sharex="col")
    for i, j in np.ndindex(num, num):
        axes = grid[i, j]
        if i == j:
            _histogram(axes, data[:, i], samples[:, i])
            axes.set_yticks([])
        else:
            points, colour = (data, GREY) if i > j else (samples, BLUE)
            axes.plot(*points[:, [j, i]].T, ".", color=colour, markersize=3, alpha=0.5)
            axes.set(xlim=_span(data[:, j]), ylim=_span(data[:, i]))
            axes.tick_params(labelleft=j == 0)
    for axes, column in zip(grid[-1], columns, strict=False):
        axes.set_xlabel(column)
    for axes, column in zip(grid[1:, 0], columns[1:], strict=False):
        axes.set_ylabel(column)
    grid[0, 0].set_ylabel("relative frequency" if num == 1 else columns[0])
    where = ("", "") if num == 1 else (" (below the diagonal)", " (above)")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    labels = [label + place for label, place in zip(labels, where, strict=True)]
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def training(
    history: Mapping[str, Sequence[float]], *, best_epoch: int, title: str, loss: str | None = None
) -> "Figure":
    """Draw training and validation log-likelihood against epochs and against seconds.

    Args:
        history: `train` and `validation` losses and `seconds` per epoch, as `fl.fit` returns them.
        best_epoch: The index of the epoch whose parameters were kept.
        title: The title.
        loss: The name of the loss, if it is no likelihood; its negative is drawn.

    Returns:
        The figure.
    """
    figure = _figure((10, 4.2), title)
    by_epoch, by_second = figure.subplots(1, 2, sharey=True)
    epochs = np.arange(1, len(history["train"]) + 1)
    lowest = []
    for axes, at in ((by_epoch, epochs), (by_second, np.asarray(history["seconds"]))):
        axes.spines[["top", "right"]].set_visible(False)
        for name, colour in (("train", GREY), ("validation", BLUE)):
            values = -np.asarray(history[name])
            axes.plot(at, values, color=colour, label=name, marker="." if len(at) < 30 else None)
            lowest.append(values)
        axes.plot(
            at[best_epoch],
            -history["validation"][best_epoch],
            "o",
            color=RED,
            label=f"best epoch, {epochs[best_epoch]}",
        )
        axes.grid(alpha=0.3)
    _focus(by_epoch, np.concatenate(lowest))
    drawn = "mean log-likelihood (nats)" if loss is None else f"negative loss ({loss})"
    by_epoch.set(xlabel="epoch", ylabel=drawn)
    by_epoch.xaxis.get_major_locator().set_params(integer=True)
    by_second.set(xlabel="seconds since the start, compilation included", xlim=(0, None))
    by_epoch.legend(frameon=False, loc="lower right")
    return figure


def density(
    log_prob: np.ndarray,
    data: np.ndarray,
    *,
    extent: tuple[float, float, float, float],
    columns: Sequence[str],
    title: str,
) -> "Figure":
    """Draw a density on a grid beside the data.

    Args:
        log_prob: Log-densities, `(rows, columns)`, the first row at the bottom.
        data: Held-out rows, `(n, 2)`.
        extent: Left, right, bottom and top of the grid.
        columns: The names of the two columns.
        title: The title.

    Returns:
        The figure.
    """
    slope = (extent[3] - extent[2]) / (extent[1] - extent[0])
    figure = _figure((10.5, 1.2 + 4.4 * float(np.clip(slope, 0.3, 1.5))), title)
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    left.plot(*data.T, ".", color=BLUE, markersize=3, alpha=0.5)
    left.set_title(f"{len(data)} held-out points")
    picture = right.imshow(np.exp(log_prob), extent=extent, origin="lower", cmap="magma")
    right.set_title("density of the flow")
    figure.colorbar(picture, ax=right, label="density per unit area")
    left.set(xlabel=columns[0], ylabel=columns[1], xlim=extent[:2], ylim=extent[2:], aspect="equal")
    right.set(xlabel=columns[0])
    return figure


def comparison(rows: "Sequence[ComparisonRow]", *, title: str) -> "Figure":
    """Draw validation likelihood against seconds, and the test likelihoods with their errors.

    Args:
        rows: Flows and baselines.
        title: The title.

    Returns:
        The figure.
    """
    figure = _figure((12, 0.35 * len(rows) + 3.4), title)
    curves, dots = figure.subplots(1, 2, width_ratios=(1.2, 1))
    colours = [GREY if not row.curve else PALETTE[i % len(PALETTE)] for i, row in enumerate(rows)]
    values = []
    for row, colour in zip(rows, colours, strict=True):
        if row.curve:
            seconds, likelihood = np.transpose(row.curve)
            curves.plot(seconds, likelihood, color=colour, label=row.score.name)
            values.append(likelihood)
        else:
            curves.axhline(row.score.validation, color=colour, linestyle=":", linewidth=1.2)
            curves.text(
                0.01,
                row.score.validation,
                row.score.name,
                color=colour,
                fontsize="small",
                va="bottom",
                transform=curves.get_yaxis_transform(),
                clip_on=True,
                in_layout=False,  # a baseline far below the curves takes no room
            )
    _focus(curves, np.concatenate([*values, [row.score.validation for row in rows]]))
    curves.set(xlabel="seconds of training", ylabel="validation log-likelihood (nats)")
    if curves.get_legend_handles_labels()[0]:
        curves.legend(frameon=False, loc="lower right")
    curves.grid(alpha=0.3)
    places = np.arange(len(rows))[::-1]
    edge = _edge(np.array([row.score.test for row in rows]))
    for at, row, colour in zip(places, rows, colours, strict=True):
        score = row.score
        if score.test < edge:  # an arrow: the others would be one point beside it
            dots.plot(edge, at, "<", color=colour)
        else:
            dots.errorbar(score.test, at, xerr=score.test_error, fmt="o", color=colour, capsize=3)
        dots.annotate(
            f"{score.test:.2f}",
            (max(score.test, edge), at),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            color=colour,
        )
    dots.set_yticks(places, [row.score.name for row in rows])
    dots.set(xlabel="test log-likelihood (nats) ± standard error", ylim=(-0.6, len(rows) - 0.3))
    dots.margins(x=0.12)  # room for the numbers
    dots.grid(axis="x", alpha=0.3)
    return figure


def _figure(size: tuple[float, float], title: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize="large")
    return figure


def _grid(images: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Lay images out in rows and columns with a thin line between them."""
    side = int(np.ceil(np.sqrt(len(images))))
    height, width = shape[0] + 1, shape[1] + 1
    canvas = np.full((side * height + 1, side * width + 1), 0.15)
    for index, image in enumerate(images):
        top, left = (index // side) * height + 1, (index % side) * width + 1
        canvas[top : top + shape[0], left : left + shape[1]] = image.reshape(shape)
    return canvas


def _histogram(axes: "Axes", data: np.ndarray, samples: np.ndarray) -> None:
    low, high = _span(data)
    bins = np.linspace(low, high, int(np.clip(np.sqrt(len(data)), 10, 40)))
    common: dict[str, Any] = {"bins": bins, "density": True}
    axes.hist(data, color=GREY, alpha=0.45, label="data", **common)
    axes.hist(samples, color=BLUE, histtype="step", linewidth=1.6, label="samples", **common)


def _span(values: np.ndarray) -> tuple[float, float]:
    """Return limits around values, so that a few wild samples do not shrink the picture."""
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.1 * (high - low)
    return low - margin, high + margin


def _edge(values: np.ndarray) -> float:
    """Return where to cut off values that lie far below the better three quarters."""
    low, high = np.quantile(values, 0.25), np.max(values)
    return float(low - 5 * (high - low))


def _focus(axes: "Axes", values: np.ndarray) -> None:
    """Cut off the first steep epochs, which would flatten the rest of the curves."""
    low, high = np.quantile(values, 0.05), np.max(values)
    if np.isfinite([low, high]).all() and high > low:
        axes.set_ylim(low - 0.3 * (high - low), high + 0.1 * (high - low))
