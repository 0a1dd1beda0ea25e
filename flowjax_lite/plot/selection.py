"""What a classifier gains by refusing to answer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flowjax_lite.inference import RiskCoverage
from flowjax_lite.plot.style import PALETTE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def risk_coverage(
    curves: RiskCoverage | Mapping[str, RiskCoverage], *, title: str | None = None
) -> "Figure":
    """Draw the fraction of wrong answers against the fraction of rows that are answered.

    Args:
        curves: what `inference.risk_coverage` returned, or several of them by name.
        title: the title.

    Returns:
        The figure; of two classifiers the lower curve is the better one.
    """
    by_name = {"risk": curves} if isinstance(curves, RiskCoverage) else dict(curves)
    figure = new_figure((5.4, 4.0), title)
    axes = figure.subplots()
    for (name, curve), colour in zip(by_name.items(), PALETTE * len(by_name), strict=False):
        label = f"{name}, mean {curve.area:.2%}"
        axes.plot(curve.coverage, curve.risk, color=colour, label=label)
    axes.set(xlabel="coverage", ylabel="risk", xlim=(0, 1), ylim=(0, None))
    axes.yaxis.set_major_formatter("{x:.2%}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure
