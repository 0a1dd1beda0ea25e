"""Pictures of densities, samples and training, for notebooks and for the command line.

Each function returns a matplotlib figure, which a notebook shows and `figure.savefig(path)` writes.
matplotlib is imported when the first one is drawn.
"""

from flowjax_lite.plot.comparison import comparison
from flowjax_lite.plot.density import density
from flowjax_lite.plot.samples import images, pairs
from flowjax_lite.plot.training import training

__all__ = ["comparison", "density", "images", "pairs", "training"]
