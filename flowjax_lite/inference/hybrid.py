"""Hybrid models: a density of x and a classifier that share one invertible network."""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.conditioners import AbstractConditioner
from flowjax_lite.conditioners.base import in_shape
from flowjax_lite.core.checks import (
    Shape,
    as_key,
    check_batch,
    check_condition_batch,
)
from flowjax_lite.core.mesh import by_parts
from flowjax_lite.distributions import Flow
from flowjax_lite.distributions.model import AbstractModel
from flowjax_lite.distributions.slices import in_slices
from flowjax_lite.distributions.statistics import replace_weightless
from flowjax_lite.inference.labels import log_prob_of_labels
from flowjax_lite.losses import Loss
from flowjax_lite.losses.likelihood import weighted_mean

# The first step of a power iteration, as a part of the radius: the divergence of a smaller one
# would be lost in rounding.
_STEP = 0.03


class Hybrid(AbstractModel):
    """A joint model p(x, y) = p(x) p(y | z), z = f⁻¹(x), of events and their classes.

    The classes are predicted from the flow's latents, so that one network serves both. `fit` takes
    the labels as conditions, (rows, 1), of which -1 marks rows without one: they teach the density
    alone. A row of low density is one on which the prediction should not be trusted.

    Nalisnick, Matsukawa, Teh, Gorur and Lakshminarayanan, 2019, arXiv:1902.02767.

    Attributes:
        flow: the density of x.
        head: the network from z to the logits of the classes.
        num_classes: number of classes.
        event_shape: shape of one x.
        condition_shape: (1,), the label's.

    Example:
        >>> import jax, numpy as np, flowjax_lite as fl
        >>> from flax import nnx
        >>> x = np.asarray(jax.random.normal(jax.random.key(0), (200, 2)))
        >>> labels = (x[:, :1] > 0).astype(int)
        >>> labels[50:] = -1  # unknown
        >>> flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> head = fl.conditioners.MLP(2, out_shape=(2,), hidden=(8,), rngs=nnx.Rngs(1))
        >>> hybrid = fl.inference.Hybrid(flow, head)
        >>> loss = fl.inference.hybrid_loss(weight=0.1)
        >>> result = fl.fit(
        ...     hybrid, x, condition=labels, loss=loss, key=0, max_epochs=2, progress=False
        ... )
        >>> log_p_y, log_p_x = result.flow.predict(x)  # (200, 2), (200,)
    """

    def __init__(self, flow: Flow, head: AbstractConditioner) -> None:
        """Join a flow and a classifier of its latents.

        Args:
            flow: a flow without a condition.
            head: a network such as `MLP` or `ConvEncoder`, from the flow's events to (classes,).

        Raises:
            ValueError: the flow takes a condition, or shapes do not fit together.
        """
        if flow.condition_shape is not None:
            raise ValueError(
                "the flow takes a condition; a hybrid model predicts the classes from x alone: "
                "build the flow without condition_dim"
            )
        if in_shape(head) != flow.event_shape:
            raise ValueError(f"the head takes shape {in_shape(head)}; expected {flow.event_shape}")
        shape: Shape = head.out_shape  # type: ignore[attr-defined]
        if len(shape) != 1 or shape[0] < 2:
            raise ValueError(
                f"the head gives shape {shape}; expected (classes,), the logits of 2 at least"
            )
        self.flow, self.head = flow, head
        self.num_classes = shape[0]
        self.event_shape = flow.event_shape
        self.condition_shape = (1,)

    def predict(self, x: ArrayLike, *, batch_size: int | None = None) -> tuple[Array, Array]:
        """Log-probabilities of the classes, and the log-density, by one pass of the flow.

        Args:
            x: (..., *event_shape).
            batch_size: number of events to evaluate at a time; None for all at once.

        Returns:
            log p(y|x) of every class, (..., classes), and log p(x), (...), in nats.

        Raises:
            TypeError: x is not floating-point.
            ValueError: x has the wrong shape.
        """
        rows, batch = self._rows(x)
        evaluate = functools.partial(_predict, self)
        log_p_y, log_p_x = in_slices(evaluate, (rows,), None, batch_size)
        return log_p_y.reshape(*batch, self.num_classes), log_p_x.reshape(batch)

    def log_prob(self, x: ArrayLike, condition: ArrayLike, key: Array | int | None = None) -> Array:
        """The joint log-density log p(x, y); log p(x) where the label is -1.

        Args:
            x: (..., *event_shape).
            condition: (..., 1), the labels as numbers, with the leading axes of x.
            key: as for `Flow.log_prob`.

        Returns:
            (...), in nats.
        """
        rows, batch = self._rows(x)
        labels = jnp.broadcast_to(jnp.asarray(condition), (*batch, 1)).reshape(-1, 1)
        log_p_y, log_p_x = _predict(self, rows, _keys(key, len(rows)))
        return (log_p_x + log_prob_of_labels(log_p_y, labels)).reshape(batch)

    def _summary(self) -> list[tuple[str, object]]:
        rows: list[tuple[str, object]] = [
            (name, str(getattr(self, name).recipe)) for name in ("flow", "head")
        ]
        return rows + super()._summary()


def hybrid_loss(*, weight: float = 1.0, radius: float | None = None) -> Loss:
    """The loss of a `Hybrid`: -log p(y|x) - weight · log p(x), in nats, the mean over rows.

    A row without a label, -1, has its density's term alone: where few rows have one, repeat them in
    the data, so that each batch holds some. Densities of many dimensions need small weights, such
    as 1 / dim, or the classes are hardly learned; a weight of 0 learns the classes alone.

    With a radius, rows without a label teach the classes, too: the prediction for a row is to stay
    the same near its latent. Each row adds KL(p(y|z) ‖ p(y|z + r)) to the loss, where r has this
    length and points to where the prediction changes the most, found by one power iteration.
    Without a key, as on the rows that `fit` holds out, there is no such term.

    Nalisnick et al., 2019, arXiv:1902.02767, equation 6. Virtual adversarial training: Miyato,
    Maeda, Koyama and Ishii, 2018, arXiv:1704.03976; among latents: Osada, Ahsan, Bora and Nishide,
    2020, arXiv:2011.13181.

    Args:
        weight: λ, of the density; not negative. Another weight or radius compiles anew.
        radius: distance of latents within which predictions are to stay the same; positive.

    Returns:
        `loss(hybrid, x, condition, weights, key)`. Equal arguments give equal losses.

    Raises:
        ValueError: weight is negative or not finite; radius is not positive and finite.
    """
    if not 0 <= weight < np.inf:
        raise ValueError(f"weight is {weight!r}; expected a number of at least 0, such as 0.01")
    if radius is not None and not 0 < radius < np.inf:
        raise ValueError(f"radius is {radius!r}; expected a positive number, such as 3, or None")
    return _HybridLoss(float(weight), None if radius is None else float(radius))


@dataclass(frozen=True)
class _HybridLoss:
    weight: float
    radius: float | None

    def __call__(
        self,
        hybrid: Hybrid,
        x: Array,
        condition: Array | None = None,
        weights: Array | None = None,
        key: Array | None = None,
    ) -> Array:
        if not isinstance(hybrid, Hybrid):
            raise TypeError(
                f"hybrid_loss is a loss of a Hybrid; the model is a {type(hybrid).__name__}"
            )
        labels = check_condition_batch(condition, hybrid.condition_shape)
        if weights is not None:
            x, labels = replace_weightless(weights, x, labels)
        assert labels is not None
        x = check_batch(x, hybrid.event_shape, "x")
        rows = functools.partial(_loss_rows, self.weight, self.radius)
        losses = by_parts(hybrid.mesh, rows, hybrid, x, labels, _keys(key, len(x)))
        return weighted_mean(losses, weights)


def _keys(key: Array | int | None, number: int) -> Array | None:
    return None if key is None else jax.random.split(as_key(key), number)


def _loss_rows(
    weight: float,
    radius: float | None,
    hybrid: Hybrid,
    x: Array,
    labels: Array,
    keys: Array | None,
) -> Array:
    log_p_y, log_p_x, z = _predict_rows(hybrid, x, keys)
    losses = -log_prob_of_labels(log_p_y, labels) - weight * log_p_x
    if radius is None or keys is None:
        return losses
    change = functools.partial(_change_nearby, hybrid.head, radius)
    return losses + jax.vmap(change)(z, log_p_y, keys)


def _change_nearby(
    head: AbstractConditioner, radius: float, z: Array, log_p_y: Array, key: Array
) -> Array:
    """KL(p(y|z) ‖ p(y|z + r)), with r of this length in the direction that changes p(y|z) most.

    Around z the divergence is a parabola, whose gradient at a small step is the step times its
    curvature: one power iteration. Neither p(y|z) nor r have gradients of their own.
    """
    log_p_y = jax.lax.stop_gradient(log_p_y)

    def change(z: Array, move: Array) -> Array:
        return jnp.sum(jnp.exp(log_p_y) * (log_p_y - jax.nn.log_softmax(head(z + move))))

    start = _of_length(_STEP * radius, jax.random.normal(key, z.shape, z.dtype))
    steepest = jax.grad(change, argnums=1)(z, start)
    return change(z, jax.lax.stop_gradient(_of_length(radius, steepest)))


def _of_length(length: float, vector: Array) -> Array:
    """The vector, made so long; 0 where it is 0."""
    norm = jnp.linalg.norm(vector)
    return jnp.where(norm > 0, length / jnp.where(norm > 0, norm, 1), 0) * vector


def _predict_rows(hybrid: Hybrid, x: Array, keys: Array | None) -> tuple[Array, Array, Array]:
    """Log-probabilities of classes and of rows, and the latents."""

    def of_one(x: Array, key: Array | None) -> tuple[Array, Array, Array]:
        z, log_det = hybrid.flow.bijector.inverse_and_log_det(x, None, key)
        log_p_x = hybrid.flow.base.log_prob(z) + log_det
        return jax.nn.log_softmax(hybrid.head(z)), log_p_x, z

    return jax.vmap(of_one)(x, keys)


@jax.jit
def _predict(hybrid: Hybrid, x: Array, keys: Array | None) -> tuple[Array, Array]:
    return _predict_rows(hybrid, x, keys)[:2]


class RiskCoverage(NamedTuple):
    """The risk of a classifier that answers only where it is confident; see `risk_coverage`.

    Attributes:
        coverage: (rows,), the fraction of rows answered, rising to 1.
        risk: (rows,), the fraction of wrong answers among them.
        area: the mean risk over all coverages; lower is better.
    """

    coverage: np.ndarray
    risk: np.ndarray
    area: float

    def at(self, coverage: float) -> float:
        """The risk at the smallest number of answers that is at least this fraction of rows.

        Raises:
            ValueError: coverage is not within 0 and 1, or 0.
        """
        if not 0 < coverage <= 1:
            raise ValueError(f"coverage is {coverage}; expected a fraction such as 0.9")
        index = np.searchsorted(self.coverage, coverage - 1e-12)
        return float(self.risk[index])


def risk_coverage(confidence: Any, correct: Any) -> RiskCoverage:
    """The risk of answering only the most confident rows, for every number of them.

    Rows of equal confidence are answered together: their errors count as spread evenly among them.

    Geifman and El-Yaniv, 2017, arXiv:1705.08500.

    Args:
        confidence: (rows,), higher for rows to be answered first: the largest log p(y|x), or
            log p(x), which refuses what is unlike the data.
        correct: (rows,), whether the answer is right.

    Returns:
        Coverages, risks, and their mean.

    Raises:
        ValueError: shapes differ, there are no rows, or a confidence is NaN.

    Example:
        >>> import flowjax_lite as fl
        >>> fl.inference.risk_coverage([0.9, 0.8, 0.3, 0.6], [True, True, False, True]).risk
        array([0.  , 0.  , 0.  , 0.25])
    """
    confidence, correct = np.asarray(confidence, float), np.asarray(correct, float)
    if confidence.ndim != 1 or confidence.shape != correct.shape or not confidence.size:
        raise ValueError(
            f"confidence has shape {confidence.shape} and correct {correct.shape}; expected "
            f"(rows,) for both"
        )
    if np.isnan(confidence).any():
        raise ValueError(f"confidence[{np.argmax(np.isnan(confidence))}] is NaN")
    number = len(confidence)
    _, group, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    wrong = np.bincount(group, 1 - correct) / sizes  # mean of each group, most confident first
    errors = np.cumsum(np.repeat(wrong, sizes))
    answers = np.arange(1, number + 1)
    risk = errors / answers
    return RiskCoverage(answers / number, risk, float(risk.mean()))
