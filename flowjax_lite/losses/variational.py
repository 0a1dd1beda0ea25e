"""Losses that need no data: a flow is fitted to a density by its own samples."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from flowjax_lite.core.checks import check_float, check_positive_int
from flowjax_lite.distributions import Flow
from flowjax_lite.losses.likelihood import Loss

LogTarget = Callable[..., Array]


def reverse_kl(log_target: LogTarget, *, num_samples: int, path_gradient: bool = False) -> Loss:
    """The divergence KL(q || p) of a flow q from an unnormalised density p, up to log ∫ p.

        E_q[log q(x) - log p(x)]

    Samples are reparameterised and keep their latents, so the flow's inverse is not used. The
    gradient passes through the samples: it is biased by what samples do not depend on smoothly,
    such as the weights of a `GaussianMixture` base.

    A low value says that samples lie where p is high, not that they reach all of it: a mode that
    the flow has left costs nothing. `inference.importance_sample` weighs its samples and tells, and
    `forward_kl` covers what is missing.

    Near the optimum most of the gradient's noise comes from its score term, the derivative of
    log q by the parameters at a fixed x, whose mean is zero. `path_gradient=True` leaves it out:
    the value and the gradient's mean stay the same, and at q = p every sample's gradient is
    zero. It evaluates the density of the samples anew: a pass of the inverse, sequential in an
    inverse autoregressive flow, numerical where a flow has no closed inverse.

    Path gradient: Roeder, Wu and Duvenaud, 2017, arXiv:1703.09194, algorithm 2.

    Args:
        log_target: log p of one event, a function from `event_shape` to a scalar; for a flow
            with conditions, a function of one event and one condition. Arrays that it holds are
            compiled into the program: give data that change as a condition.
        num_samples: samples for each estimate, or for each condition.
        path_gradient: leave out the score term of the gradient.

    Returns:
        `loss(flow, key, condition=None)`, a scalar in nats, the mean over the conditions
        (..., *condition_shape). Equal arguments give equal losses, so nothing compiles twice.

    Raises:
        TypeError: num_samples is not a whole number.
        ValueError: num_samples is below 1.

    Example:
        >>> import jax, optax, flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> optimizer = optax.adam(1e-3)
        >>> loss = fl.reverse_kl(lambda x: -(x**4).sum(), num_samples=64)
        >>> step = jax.jit(fl.make_train_step(loss, optimizer))
        >>> state = fl.TrainState.create(flow, optimizer)
        >>> state, value = step(state, jax.random.key(0))
    """
    return _ReverseKL(log_target, check_positive_int(num_samples, "num_samples"), path_gradient)


def importance_weighted(log_target: LogTarget, *, num_samples: int) -> Loss:
    """The negative importance-weighted bound on log ∫ p for an unnormalised density p.

        -E[log (1/K) Σ_k p(x_k) / q(x_k)],  K samples x_k of the flow q

    For K = 1 it is `reverse_kl`; it falls with K, to -log ∫ p in the limit. It asks less that q
    lie within p, and more that q cover p. Its gradient gets smaller beside its noise as K grows
    (Rainforth et al., 2018, arXiv:1802.04537), so train with a few samples for each bound.

    Burda, Grosse and Salakhutdinov, 2016, arXiv:1509.00519, equation 8.

    Args:
        log_target: as for `reverse_kl`.
        num_samples: samples K in each bound.

    Returns:
        `loss(flow, key, condition=None)`, a scalar in nats, the mean over the conditions. Without
        a condition it is one bound: average over keys for less noise. Equal arguments give equal
        losses.

    Raises:
        TypeError: num_samples is not a whole number.
        ValueError: num_samples is below 1.
    """
    return _ImportanceWeighted(log_target, check_positive_int(num_samples, "num_samples"))


def forward_kl(log_target: LogTarget, *, num_samples: int) -> Loss:
    """The divergence KL(p || q) of an unnormalised density p from a flow q, by weighted samples.

        Σ_k w_k (log p(x_k) - log q(x_k)) - log (1/K) Σ_k p(x_k) / q(x_k),  w_k ∝ p(x_k) / q(x_k)

    The samples x_k are those of the flow. Neither they nor their weights get a gradient, so that it
    is that of a likelihood weighted by w: the flow need not be differentiable by x, nor the target.
    1 / K is taken off each weight, which changes no mean: at q = p every gradient is zero.
    It asks that q cover p, which makes the weights of importance sampling even, and so it is what
    neural importance sampling minimises. A mode of p where the flow has no samples stays unseen,
    and few weights count at first: begin with `reverse_kl`, or with many samples.

    The value, in nats, is zero where q = p and never negative; it is biased downwards by few
    samples.

    Reweighted wake-sleep: Bornschein and Bengio, 2015, arXiv:1406.2751, equation 5. Neural
    importance sampling: Müller et al., 2019, arXiv:1808.03856, section 5.1.

    Args:
        log_target: as for `reverse_kl`; -inf is a weight of zero.
        num_samples: samples K for each estimate, or for each condition; at least 2.

    Returns:
        `loss(flow, key, condition=None)`, a scalar in nats, the mean over the conditions. Equal
        arguments give equal losses.

    Raises:
        TypeError: num_samples is not a whole number.
        ValueError: num_samples is below 2, where every weight is one.

    Example:
        >>> import flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> loss = fl.forward_kl(fl.inference.targets.DoubleWell(), num_samples=256)
        >>> result = fl.fit_density(flow, loss, key=0, num_steps=100, progress=False)
    """
    return _ForwardKL(log_target, check_positive_int(num_samples, "num_samples", minimum=2))


def distillation(*, num_samples: int) -> Loss:
    """The divergence KL(student || teacher) of one flow from another.

    A student that samples in one pass, such as `iaf`, learns from a teacher whose density takes
    one pass, such as `maf`: the samples keep their latents, so neither runs sequentially. As with
    `reverse_kl`, a student may leave a part of the teacher out at little cost: look at the
    student's density of the teacher's samples, or of data.

    The teacher is an argument of the loss, as a batch is, because a flow is a pytree of arrays:
    they enter a compiled step as inputs and not as constants, and another teacher of the same
    structure compiles nothing. It gets no gradient.

    Parallel WaveNet: van den Oord et al., 2017, arXiv:1711.10433, equations 6 to 9.

    Args:
        num_samples: samples for each estimate, or for each condition.

    Returns:
        `loss(student, key, teacher, condition=None)`, a scalar in nats, the mean over the
        conditions, which both flows take. Equal arguments give equal losses.

    Raises:
        TypeError: num_samples is not a whole number.
        ValueError: num_samples is below 1.

    Example:
        >>> import jax, optax, flowjax_lite as fl
        >>> from flax import nnx
        >>> teacher = fl.flows.maf(dim=3, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> student = fl.flows.iaf(dim=3, num_layers=2, hidden=(8,), rngs=nnx.Rngs(1))
        >>> optimizer = optax.adam(1e-3)
        >>> step = jax.jit(fl.make_train_step(fl.distillation(num_samples=64), optimizer))
        >>> state = fl.TrainState.create(student, optimizer)
        >>> state, value = step(state, jax.random.key(0), teacher)
    """
    return _Distillation(check_positive_int(num_samples, "num_samples"))


@dataclass(frozen=True)
class _OfTarget:
    """What losses of a log target share: when a run fails, they tell what is wrong with it."""

    log_target: LogTarget
    num_samples: int

    def describe(self, flow: Flow, key: Array, condition: Array | None = None) -> str | None:
        """What is not finite at samples of the flow, the target or its gradient; else None."""
        x = flow.sample(key, (self.num_samples,), condition)
        rank = len(flow.event_shape)

        def value_and_size(x: Array) -> tuple[Array, Array]:
            def total(x: Array) -> tuple[Array, Array]:
                values = _log_target(self.log_target, flow, x, condition)
                return jnp.sum(values), values

            gradient, values = jax.grad(total, has_aux=True)(x)
            return values, jnp.sum(jnp.abs(gradient), axis=tuple(range(x.ndim - rank, x.ndim)))

        values, sizes = value_and_size(x)
        for name, got in (("the log target", values), ("the gradient of the log target", sizes)):
            bad = np.argwhere(~np.isfinite(np.asarray(got)))
            if len(bad):
                first = tuple(bad[0])
                where = np.array2string(np.asarray(x[first]), precision=4, threshold=8)
                return (
                    f"{name} is {got[first]} at {len(bad)} of {got.size} samples of the flow, such "
                    f"as x = {where}"
                )
        return None


@dataclass(frozen=True)
class _ReverseKL(_OfTarget):
    path_gradient: bool

    def __call__(self, flow: Flow, key: Array, condition: Array | None = None) -> Array:
        x, log_q = flow.sample_and_log_prob(key, (self.num_samples,), condition)
        if self.path_gradient:
            log_q = _without_gradient(flow).log_prob(x, condition)
        return jnp.mean(log_q - _log_target(self.log_target, flow, x, condition))


@dataclass(frozen=True)
class _ImportanceWeighted(_OfTarget):
    def __call__(self, flow: Flow, key: Array, condition: Array | None = None) -> Array:
        x, log_q = flow.sample_and_log_prob(key, (self.num_samples,), condition)
        log_weight = _log_target(self.log_target, flow, x, condition) - log_q
        bound = jax.nn.logsumexp(log_weight, axis=0) - math.log(self.num_samples)
        return -jnp.mean(bound)


@dataclass(frozen=True)
class _ForwardKL(_OfTarget):
    def __call__(self, flow: Flow, key: Array, condition: Array | None = None) -> Array:
        drawn = _without_gradient(flow).sample_and_log_prob(key, (self.num_samples,), condition)
        x, log_q = lax.stop_gradient(drawn)
        log_weight = _log_target(self.log_target, flow, x, condition) - log_q
        weight = jax.nn.softmax(log_weight, axis=0)
        # A weight of zero counts for nothing, whatever its logarithm.
        terms = jnp.where(weight > 0, weight * log_weight, 0.0)
        log_mean = jax.nn.logsumexp(log_weight, axis=0) - math.log(self.num_samples)
        value = lax.stop_gradient(jnp.sum(terms, axis=0) - log_mean)
        # E_q[∇ log q] = 0, so an equal part of each weight adds nothing but noise.
        excess = weight - 1 / self.num_samples
        likelihood = jnp.sum(excess * flow.log_prob(x, condition), axis=0)
        return jnp.mean(value - (likelihood - lax.stop_gradient(likelihood)))


@dataclass(frozen=True)
class _Distillation:
    num_samples: int

    def __call__(
        self, flow: Flow, key: Array, teacher: Flow, condition: Array | None = None
    ) -> Array:
        x, log_q = flow.sample_and_log_prob(key, (self.num_samples,), condition)
        return jnp.mean(log_q - _without_gradient(teacher).log_prob(x, condition))


def log_density_of_one(log_target: LogTarget, event_shape: tuple[int, ...]) -> LogTarget:
    """The same function, checked where it is called: of one event, a floating-point scalar.

    Raises:
        TypeError: it returns no floating-point number.
        ValueError: it returns an array with axes.
    """

    def of_one(*event: Any) -> Array:
        value = check_float(log_target(*event), "log_target(x)")
        if value.shape:
            raise ValueError(
                f"log_target returned shape {value.shape} for one event of shape "
                f"{event_shape}; expected a scalar: sum over the entries, and leave batches "
                f"to the caller, which maps log_target over its samples"
            )
        return value

    return of_one


def _log_target(log_target: LogTarget, flow: Flow, x: Array, condition: Array | None) -> Array:
    """log p of samples (num_samples, ..., *event_shape), with ... the axes of the condition."""
    of_one = log_density_of_one(log_target, flow.event_shape)
    if condition is None:
        return jax.vmap(of_one)(x)
    of_conditions: Callable[..., Array] = of_one
    for _ in range(x.ndim - 1 - len(flow.event_shape)):
        of_conditions = jax.vmap(of_conditions)
    return jax.vmap(of_conditions, in_axes=(0, None))(x, condition)


def _without_gradient(flow: Flow) -> Flow:
    """The same flow as a constant: derivatives pass through its arguments alone."""
    constant: Flow = jax.tree.map(lax.stop_gradient, flow)
    return constant
