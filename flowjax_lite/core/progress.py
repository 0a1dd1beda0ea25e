"""The bar that shows how far something is, in a terminal and in a notebook."""

import warnings

from tqdm import TqdmWarning

# Without ipywidgets a notebook has the bar of a terminal, which needs no warning at import.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm

__all__ = ["tqdm"]
