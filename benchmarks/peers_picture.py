"""The picture of `peers.py`: a panel for each flow, a bar for each framework."""

from typing import Any

import numpy as np
from frameworks.base import BATCH, CASES
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from peer_process import DIMS, SAMPLING_DIM

# Colours that stay apart for colour-blind readers; flowjax_lite is the dark one.
COLOURS = {
    "flowjax_lite": "#0b3c5d",
    "flowjax": "#3a9ad9",
    "distrax": "#a6d0ee",
    "zuko": "#d95f02",
    "nflows": "#f2a65a",
    "normflows": "#f6d3a8",
}
QUANTITIES = {"log_prob": "log_prob", "step": "training step", "sample": "sampling"}


def draw(results: list[dict[str, Any]], cases: list[str]) -> Figure:
    """Milliseconds on a logarithmic scale; a row of panels for each dimension."""
    figure = Figure(figsize=(4.6 * len(cases), 7.6), layout="constrained")
    panels = figure.subplots(len(DIMS), len(cases), squeeze=False)
    for row, dim in zip(panels, DIMS, strict=True):
        for axes, case in zip(row, cases, strict=True):
            axes.set_title(f"{CASES[case]}, D = {dim}", fontsize="medium")
            groups = [(label, str(dim), key) for key, label in QUANTITIES.items()]
            if dim == max(DIMS):
                groups.append((f"sampling\nD = {SAMPLING_DIM}", str(SAMPLING_DIM), "sample"))
            _bars(axes, results, case, groups)
        row[0].set_ylabel(f"milliseconds for {BATCH} events")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _bars(
    axes: Axes, results: list[dict[str, Any]], case: str, groups: list[tuple[str, str, str]]
) -> None:
    """A group of bars for each quantity, each bar with its number above."""
    width = 0.86 / len(results)
    for i, result in enumerate(results):
        values = [result["cases"][case][dim][key] for _, dim, key in groups]
        places = np.arange(len(groups)) + (i - (len(results) - 1) / 2) * width
        name = result["name"]
        bars = axes.bar(places, values, width * 0.95, color=COLOURS[name], label=name)
        numbers = [f"{value:.0f}" if value >= 10 else f"{value:.1f}" for value in values]
        axes.bar_label(bars, numbers, padding=2, fontsize=6.5, rotation=90)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")  # each bar has its number
    axes.margins(y=0.16)
    axes.set_xticks(np.arange(len(groups)), [label for label, _, _ in groups])
    axes.spines[["top", "right"]].set_visible(False)
