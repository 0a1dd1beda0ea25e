"""The picture of `scaling.py`: a panel for each thing that grows."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours that stay apart for colour-blind readers.
COLOURS = ("#0b3c5d", "#d95f02", "#3a9ad9")
STYLES = ("-", "--", ":")
QUANTITIES = {"log_prob": "log_prob", "step": "training step", "sample": "sampling"}


def draw(results: dict[str, Any]) -> Figure:
    """The measured parts side by side, sizes on logarithmic scales."""
    figure = Figure(figsize=(4.8 * len(results), 5.4), layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for axes, (part, result) in zip(panels, results.items(), strict=True):
        PANELS[part](axes, result)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize="small"
        )
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _depth(axes: Axes, flows: dict[str, Any]) -> None:
    """Compile times, which should not grow."""
    for colour, (name, sizes) in zip(COLOURS, flows.items(), strict=False):
        seconds = [numbers["compile"] for numbers in sizes.values()]
        axes.plot(list(sizes), seconds, "o-", color=colour, label=name)
    axes.set(xlabel="layers", ylabel="seconds to compile a training step")
    axes.set_ylim(0, 1.2 * axes.get_ylim()[1])


def _dim(axes: Axes, flows: dict[str, Any]) -> None:
    """Times of all three calls."""
    for style, (name, sizes) in zip(STYLES, flows.items(), strict=False):
        for colour, (key, label) in zip(COLOURS, QUANTITIES.items(), strict=True):
            ms = [numbers[key] for numbers in sizes.values()]
            axes.plot(list(sizes), ms, "o" + style, color=colour, label=f"{name}, {label}")
    axes.set(xlabel="D", ylabel="milliseconds", yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")


def _batch(axes: Axes, flows: dict[str, Any]) -> None:
    """Times of all three calls for each event."""
    for style, (name, sizes) in zip(STYLES, flows.items(), strict=False):
        for colour, (key, label) in zip(COLOURS, QUANTITIES.items(), strict=True):
            each = [1e3 * numbers[key] / batch for batch, numbers in sizes.items()]
            axes.plot(list(sizes), each, "o" + style, color=colour, label=f"{name}, {label}")
    axes.set(xlabel="events in a batch", ylabel="microseconds per event", yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")


def _memory(axes: Axes, batches: dict[int, Any]) -> None:
    """Temporary memory of a step on the largest batch."""
    batch = max(batches)
    for style, (name, gradients) in zip(STYLES, batches[batch].items(), strict=True):
        for colour, (gradient, depths) in zip(COLOURS, gradients.items(), strict=True):
            megabytes = [numbers["bytes"] / 1e6 for numbers in depths.values()]
            label = f"{name}, {gradient}"
            axes.plot(list(depths), megabytes, "o" + style, color=colour, label=label)
    axes.set(xlabel="layers", ylabel=f"temporary MB of a step, batch {batch}", yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")


PANELS = {"depth": _depth, "dim": _dim, "batch": _batch, "memory": _memory}
