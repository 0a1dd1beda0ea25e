"""What all pictures have in common: colours, the empty figure, limits that outliers do not move."""

import importlib
import sys
from typing import TYPE_CHECKING

import numpy as np

from flowjax_lite.core.extra import import_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def new_figure(size: tuple[float, float], title: str | None) -> "Figure":
    """Return an empty figure, which pyplot does not know and need not close.

    Raises:
        ImportError: matplotlib is missing.
    """
    figure = import_extra("matplotlib.figure", "plot").Figure(figsize=size, layout="constrained")
    if "ipykernel" in sys.modules:  # a notebook shows figures once this has been imported
        importlib.import_module("matplotlib_inline.backend_inline")
    if title:
        figure.suptitle(title, fontsize="large")
    return figure


def span(values: np.ndarray) -> tuple[float, float]:
    """Return limits around values, with a margin."""
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.1 * (high - low) or 0.5
    return low - margin, high + margin
