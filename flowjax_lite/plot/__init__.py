"""Pictures of densities, samples and training, for notebooks and for the command line.

Each function returns a matplotlib figure, which a notebook shows and `figure.savefig(path)` writes.
matplotlib is imported when the first one is drawn.
"""

from flowjax_lite.plot.calibration import coverage, ranks
from flowjax_lite.plot.curves import comparison, training
from flowjax_lite.plot.detection import anomalies
from flowjax_lite.plot.points import density, images, pairs
from flowjax_lite.plot.selection import risk_coverage

__all__ = [
    "anomalies",
    "comparison",
    "coverage",
    "density",
    "images",
    "pairs",
    "ranks",
    "risk_coverage",
    "training",
]
