"""Whether a posterior is calibrated: histograms of ranks, and curves of coverage."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from flowjax_lite.diagnostics import Ranks
from flowjax_lite.diagnostics.calibration import bin_edges
from flowjax_lite.plot.style import BLUE, GREY, PALETTE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BAND = 0.99  # of the counts, and of the curves, of an exact posterior lie within the band
_ACROSS = 5
_SMALLEST_P = 1e-6  # the chi-squared approximation says nothing about smaller ones


def ranks(
    result: Ranks, *, columns: Sequence[str] | None = None, title: str | None = None
) -> "Figure":
    """Draw the histogram of ranks for each entry, with the band in which exact ones stay.

    Args:
        result: what `diagnostics.sbc_ranks` returned.
        columns: names of the entries; theta0, theta1, ... by default.
        title: the title.

    Returns:
        The figure.
    """
    from scipy.stats import binom

    rows, num = result.ranks.shape
    names = [f"theta{i}" for i in range(num)] if columns is None else list(columns)
    across = min(num, _ACROSS)
    down = -(-num // across)
    figure = new_figure((2.6 * across + 0.6, 2.3 * down + 0.8), title)
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    edges = bin_edges(rows, result.num_samples)
    part = np.diff(edges) / (result.num_samples + 1)
    low, high = binom.ppf([[(1 - _BAND) / 2], [(1 + _BAND) / 2]], rows, part)
    for axes, name, column, p_value in zip(
        panels, names, result.ranks.T, result.p_values, strict=False
    ):
        axes.stairs(high, edges, baseline=low, fill=True, color=GREY, alpha=0.3)
        axes.stairs(np.histogram(column, edges)[0], edges, color=BLUE, linewidth=1.6)
        axes.set_xlabel(f"rank of {name}, {_p_text(p_value)}")
    for axes in panels[num:]:
        axes.set_axis_off()
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("events")
    return figure


def coverage(results: Ranks | Mapping[str, Ranks], *, title: str | None = None) -> "Figure":
    """Draw how often events lie in regions, against the probability that the regions should hold.

    Args:
        results: what `diagnostics.expected_coverage` or `diagnostics.tarp` returned, or several of
            them by name.
        title: the title.

    Returns:
        The figure, with the band of an exact posterior. Curves above the diagonal belong to flows
        that are too wide, those below to flows that are too narrow; those of `tarp` may do both.
    """
    from scipy.stats import binom

    by_name = {"coverage": results} if isinstance(results, Ranks) else dict(results)
    figure = new_figure((5.2, 5.0), title)
    axes = figure.subplots()
    levels = np.linspace(0.0, 1.0, 101)
    rows = min(len(result.ranks) for result in by_name.values())
    low, high = binom.ppf([[(1 - _BAND) / 2], [(1 + _BAND) / 2]], rows, levels) / rows
    axes.fill_between(levels, low, high, color=GREY, alpha=0.3, label="exact")
    axes.plot(levels, levels, color=GREY, linewidth=1)
    for i, (name, result) in enumerate(by_name.items()):
        label = f"{name}, {_p_text(result.p_value)}"
        curves = result.coverage(levels)
        axes.plot(levels, curves, color=PALETTE[i % len(PALETTE)], linewidth=1.6, label=label)
    axes.set(xlabel="probability of the region", ylabel="fraction of events in it", aspect="equal")
    axes.legend(loc="upper left", frameon=False)
    return figure


def _p_text(p_value: float) -> str:
    return f"p = {p_value:.2g}" if p_value >= _SMALLEST_P else f"p < {_SMALLEST_P:g}"
