"""From a config to a flow: the named family, its base, and the fixed maps to the data's units."""

import numpy as np
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.baselines import Examples
from flowjax_lite.bijectors import AbstractBijector
from flowjax_lite.cli.config import BASES, DataConfig, FlowConfig, flow_options
from flowjax_lite.cli.errors import FieldError
from flowjax_lite.core.checks import check_columns
from flowjax_lite.data import Dataset, Split
from flowjax_lite.distributions import Flow

NUM_FIRST = 10_000  # rows that go through a new flow at once, all layers' numbers in memory


def flow(config: FlowConfig, data: Dataset, *, logit: float | None, seed: int) -> Flow:
    """Build the flow for a data set.

    Args:
        config: The family and its options.
        data: The data; its training rows fix the maps to and from the data's units, and the
            layers that start from data.
        logit: As in `DataConfig`.
        seed: The seed of the initial parameters.

    Returns:
        The flow, on the data's own units.

    Raises:
        FieldError: `logit` is given for data that hold angles.
    """
    rngs = nnx.Rngs(seed)
    given = dict(config.options)
    if "base" in given:
        given["base"] = BASES[given["base"]](data.dim, rngs)
    condition = data.train.condition
    if condition is not None:
        given["condition_dim"] = condition.shape[1]
        given["condition_map"] = fl.bijectors.Standardize.from_data(condition)
    angles = _angles(config, data.dim)
    if angles and logit is not None:
        raise FieldError("data.logit", f"{config.family} takes angles, which have no logits")
    data_map = _data_map(data.train.x, logit, keep=angles)
    flow = fl.flows.NAMED[config.family](dim=data.dim, data_map=data_map, rngs=rngs, **given)
    first = data.train[:: -(-len(data.train) // NUM_FIRST)]
    return fl.initialize(flow, first.x, first.condition)


def examples(split: Split, *, logit: float | None) -> Examples:
    """Move rows to the coordinates in which densities are fitted.

    Args:
        split: Rows in the data's units.
        logit: As in `DataConfig`.

    Returns:
        The rows in float64, as logits if asked for, with the log-determinant of that map.
    """
    x = split.x.astype(np.float64)
    condition = None if split.condition is None else split.condition.astype(np.float64)
    if logit is None:
        return Examples(x, condition)
    inside = logit + (1 - 2 * logit) * x
    log_det = np.log(1 - 2 * logit) - np.log(inside) - np.log1p(-inside)
    return Examples(np.log(inside) - np.log1p(-inside), condition, log_det.sum(1))


def check_logit(data: Dataset, config: DataConfig) -> None:
    """Raise an error unless the data lie where the logit map is defined.

    Raises:
        FieldError: `logit` is given, and a value lies outside [0, 1].
    """
    for split in (data.train, data.validation, data.test):
        low, high = split.x.min(), split.x.max()
        if config.logit is not None and not 0 <= low <= high <= 1:
            message = f"needs data in [0, 1]; {data.name} has values from {low:g} to {high:g}"
            raise FieldError("data.logit", message)


def _angles(config: FlowConfig, dim: int) -> tuple[int, ...]:
    """Return the columns that keep their units, because full turns mean something there."""
    if "circular" not in flow_options(config.family):
        return ()
    return check_columns(config.options.get("circular", range(dim)), dim, "circular")


def _data_map(x: np.ndarray, logit: float | None, *, keep: tuple[int, ...]) -> AbstractBijector:
    """Return the fixed map from unit scale to the data: for pixels, through logits."""
    Standardize, dim = fl.bijectors.Standardize, x.shape[1]
    standardize = Standardize.from_data(examples(Split(x), logit=logit).x, keep=keep)
    if logit is None:
        return standardize
    width = 1 - 2 * logit
    stretch = Standardize(dim, loc=-logit / width, scale=1 / width)
    return fl.bijectors.Chain([standardize, fl.bijectors.Sigmoid(dim), stretch])
