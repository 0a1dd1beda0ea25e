"""Which events a model finds strange: scores, and what they say beside those of held-out rows."""

from typing import Any

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.distributions import Flow, FlowMixture


def anomaly_scores(
    model: Flow | FlowMixture,
    x: ArrayLike,
    condition: ArrayLike | None = None,
    *,
    batch_size: int | None = None,
) -> Array:
    """How anomalous each event is: its negative log-density, higher where x is stranger.

    The events may be features of a network, and the model an ensemble: the `mixture` of
    `fit_ensemble`. One flow alone may put density between its modes; few flows put it at the same
    place. Scores of two models compare only if both are densities of the same x in the same units.

    Bishop, 1994, Novelty detection and neural network validation.

    Args:
        model: a flow, or a mixture of flows, trained on normal rows.
        x: (..., *event_shape).
        condition: (..., *condition_shape); its leading axes broadcast against those of x.
        batch_size: as for `Flow.log_prob`.

    Returns:
        (...), -log p(x) in nats; infinite where the density is 0.

    Raises:
        TypeError, ValueError: as `Flow.log_prob`.

    Example:
        >>> import jax, flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.maf(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> held_out, new = jax.random.normal(jax.random.key(0), (2, 50, 2))
        >>> scores = fl.inference.anomaly_scores(flow, new)
        >>> p = fl.inference.p_values(scores, fl.inference.anomaly_scores(flow, held_out))
    """
    return -model.log_prob(x, condition, batch_size=batch_size)


def typicality(scores: ArrayLike, reference: ArrayLike) -> np.ndarray:
    """How far the scores of events, or of groups of events, lie from the entropy.

        |-log p(x) - H|,  H = E[-log p], the mean score of the reference

    It is large also where the density is higher than at almost all normal events, as a constant
    image's is under a flow of photographs. The test is made for groups: the mean score of many
    normal events is close to H, that of one event is not. Of single events use it where normal
    scores lie close together, in many dimensions; elsewhere it calls the centre of the data
    strange, and `anomaly_scores` alone separate better.

    Nalisnick, Matsukawa, Teh and Lakshminarayanan, 2019, arXiv:1906.02994.

    Args:
        scores: (...), `anomaly_scores` of events; of groups, the mean over each.
        reference: (n,), scores of normal events, other than those that p-values are taken from.

    Returns:
        (...), in nats, higher where an event or a group is less typical.

    Raises:
        TypeError: scores or reference are no numbers.
        ValueError: the reference is empty, has more than one axis, or its mean is not finite.
    """
    entropy = _of_rows(reference, "reference").mean()
    if not np.isfinite(entropy):
        raise ValueError(
            "the mean of reference is not finite: the model gives a reference event density 0, and "
            "the entropy cannot be estimated"
        )
    return np.abs(_numbers(scores, "scores") - entropy)


def p_values(scores: ArrayLike, held_out: ArrayLike) -> np.ndarray:
    """How likely a normal event is to score as high: conformal p-values.

        (1 + #{i: s_i ≥ s}) / (n + 1),  s_i the scores of n held-out normal events

    Whatever the model and the score, a normal event that was not used in training has a p-value
    below α with probability at most α, on average over held-out sets. The smallest is 1 / (n + 1).
    Of many events, `scipy.stats.false_discovery_control(p)` chooses those to report, by Benjamini
    and Hochberg.

    Bates, Candès, Lei, Romano and Sesia, 2023, arXiv:2104.08279.

    Args:
        scores: (...), higher where an event is stranger: `anomaly_scores`, `typicality`, or any.
        held_out: (n,), the same score of normal rows that neither training nor early stopping saw.

    Returns:
        (...), in (0, 1]; NaN where the score is NaN.

    Raises:
        TypeError: scores are no numbers.
        ValueError: held_out is empty, has more than one axis, or holds NaN.
    """
    values, others = _numbers(scores, "scores"), np.sort(_of_rows(held_out, "held_out"))
    at_least = len(others) - np.searchsorted(others, values, side="left")
    return np.where(np.isnan(values), np.nan, (1 + at_least) / (len(others) + 1))


def _numbers(values: Any, name: str) -> np.ndarray:
    """As float64, in which no two scores of float32 become one.

    Raises:
        TypeError: they are no numbers.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise TypeError(f"{name} has dtype {array.dtype}; expected numbers, as of anomaly_scores")
    return array.astype(np.float64)


def _of_rows(values: Any, name: str) -> np.ndarray:
    """Scores of some rows.

    Raises:
        TypeError: they are no numbers.
        ValueError: there are none, there is more than one axis, or one is NaN.
    """
    array = _numbers(values, name)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name} has shape {array.shape}; expected (rows,), at least one score")
    if np.isnan(array).any():
        raise ValueError(
            f"{name} has {np.isnan(array).sum()} NaN of {array.size}: look at their rows with "
            f"fl.diagnose, or leave them out"
        )
    return array
