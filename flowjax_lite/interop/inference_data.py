"""Samples as ArviZ's inference data."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jax.typing import ArrayLike

from flowjax_lite.core.checks import check_float
from flowjax_lite.core.extra import import_extra

if TYPE_CHECKING:
    import arviz


def to_arviz(samples: ArrayLike, *, names: Sequence[str] | None = None) -> "arviz.InferenceData":
    """Samples of chains as inference data, for the summaries, diagnostics and plots of ArviZ.

    Args:
        samples: (chains, draws, dim); independent samples of a flow are one chain, `x[None]`.
        names: one for each entry; None is one variable "x" of dim entries.

    Returns:
        Inference data with the group "posterior".

    Raises:
        ImportError: ArviZ is not installed.
        TypeError: samples are not floating-point.
        ValueError: samples have another rank, or there are not as many names as entries.

    Example:
        >>> import flowjax_lite as fl, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(4, 100, 2))
        >>> data = fl.interop.to_arviz(x, names=["mu", "tau"])  # arviz.summary(data)
    """
    x = np.asarray(check_float(samples, "samples"))
    if x.ndim != 3:
        raise ValueError(
            f"samples have shape {x.shape}; expected (chains, draws, dim): add an axis to those of "
            f"one chain, samples[None]"
        )
    if names is None:
        variables = {"x": x}
    elif isinstance(names, str) or len(set(names)) != len(names) or len(names) != x.shape[-1]:
        raise ValueError(f"names are {names!r}; expected {x.shape[-1]}, one for each entry")
    else:
        variables = {name: x[..., i] for i, name in enumerate(names)}
    return import_extra("arviz", "interop").from_dict(posterior=variables)
