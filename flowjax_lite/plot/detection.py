"""How well scores tell anomalies from normal events."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from flowjax_lite.plot.style import GREY, PALETTE, RED, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of the scores that are drawn: beyond, a few far anomalies would press all others together.
_QUANTILES = (0.005, 0.98)


def anomalies(
    scores: Mapping[str, ArrayLike], is_anomaly: ArrayLike, *, title: str | None = None
) -> "Figure":
    """Draw the scores of normal and of anomalous rows, and what part of each is reported.

    Args:
        scores: For each detector by name, (rows,), higher where a row is stranger, such as
            `inference.anomaly_scores`. The first one's are drawn as histograms.
        is_anomaly: (rows,), which rows are anomalies.
        title: The title.

    Returns:
        The figure: histograms to the left, receiver operating characteristics to the right, with
        the area under each.

    Raises:
        ValueError: there are no scores, one is NaN or shapes differ, or all rows are of one kind.
    """
    truth = np.asarray(is_anomaly).astype(bool)
    if truth.ndim != 1 or truth.all() or not truth.any():
        raise ValueError(
            f"is_anomaly has shape {truth.shape} and {truth.sum()} anomalies; expected (rows,), "
            f"some of them anomalies and some not"
        )
    values = {name: np.asarray(each, np.float64) for name, each in scores.items()}
    for name, each in values.items():
        if each.shape != truth.shape or np.isnan(each).any():
            raise ValueError(
                f"scores of {name!r} have shape {each.shape} and {np.isnan(each).sum()} NaN; "
                f"expected {truth.shape}, as is_anomaly, and none"
            )
    if not values:
        raise ValueError("scores is empty; expected at least one detector")
    figure = new_figure((10.5, 4.4), title)
    histograms, curves = figure.subplots(1, 2)
    first, drawn = next(iter(values.items()))
    finite = drawn[np.isfinite(drawn)]
    low, high = np.quantile(finite if finite.size else np.zeros(1), _QUANTILES)
    bins = np.linspace(low, high if high > low else low + 1, 41)
    for kind, which, colour in (("normal", ~truth, GREY), ("anomalous", truth, RED)):
        # What lies beyond is counted in the outermost bins.
        clipped = np.clip(drawn[which], bins[0], bins[-1])
        weights = np.full(len(clipped), 1 / len(clipped))
        common = {"bins": bins, "weights": weights, "color": colour}
        histograms.hist(clipped, alpha=0.5, label=f"{kind}, {which.sum():,} rows", **common)
    histograms.set(xlabel=f"score of {first}", ylabel="part of the rows")
    histograms.legend(frameon=False)
    for i, (name, each) in enumerate(values.items()):
        false, true = roc(each, truth)
        area = np.trapezoid(true, false)
        colour = PALETTE[i % len(PALETTE)]
        curves.plot(false, true, color=colour, label=f"{name}, area {area:.3f}")
    curves.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    curves.set(xlabel="part of the normal rows reported", ylabel="part of the anomalies reported")
    curves.grid(alpha=0.3)
    curves.legend(loc="lower right", frameon=False)
    return figure


def roc(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the receiver operating characteristic; equal scores are reported together.

    Args:
        scores: (rows,), higher for anomalies.
        truth: (rows,), which rows are anomalies.

    Returns:
        The parts of the normal rows and of the anomalies that are reported, (thresholds,) each,
        from none to all.
    """
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    last = np.append(np.flatnonzero(falling[1:] != falling[:-1]), len(scores) - 1)  # of equal ones
    reported = np.cumsum(truth[order])[last]
    false, true = (1 + last - reported) / (~truth).sum(), reported / truth.sum()
    return np.append(0.0, false), np.append(0.0, true)
