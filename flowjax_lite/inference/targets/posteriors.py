"""Posteriors of four statistical models of posteriordb, with data of one's own or theirs.

Each is the density of parameters under their constraints, with all its constants but the evidence.
An unconstrained density, for a sampler or for a start, is `latent_log_density(p.domains, p)`.

posteriordb: Magnusson et al., 2025, arXiv:2407.04967.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, final

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.stats import cauchy, norm
from numpy.typing import ArrayLike

from flowjax_lite.bijectors import Domains
from flowjax_lite.core.checks import check_event, check_positive_int
from flowjax_lite.inference.targets.base import AbstractTarget, set_fields


class AbstractPosterior(AbstractTarget):
    """A posterior density up to its evidence; zero, so -inf, where a constraint is broken."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What the reference draws call the parameters, in their order."""

    @property
    @abstractmethod
    def support(self) -> tuple[str, ...]:
        """The domain of each entry of an event, as `Domains` takes it."""

    @property
    def domains(self) -> Domains:
        """The map from real numbers to events; a `data_map`, alone or behind a `Whiten`."""
        return Domains(self.support)

    @property
    def dim(self) -> int:
        return len(self.support)

    def parameters(self, x: Array) -> Array:
        """The parameters under the names of the reference draws.

        Args:
            x: (dim,), one event.

        Returns:
            (names,).

        Raises:
            ValueError: x has another shape.
        """
        return self._parameters(check_event(x, (self.dim,), "x"))

    def _parameters(self, x: Array) -> Array:
        return x


@final
@dataclass(frozen=True, eq=False)
class EightSchools(AbstractPosterior):
    """Effects θ = μ + τ η of schools, around a mean and with a spread of their own; not centred.

    An event is (μ, τ, η). Rubin, 1981; `eight_schools_noncentered` of posteriordb.

    Attributes:
        y: (schools,), the estimated effects.
        sigma: (schools,), their standard errors, positive.

    Raises:
        ValueError: another shape, or a number that cannot be.
    """

    y: ArrayLike = (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0)
    sigma: ArrayLike = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)

    def __post_init__(self) -> None:
        y = _series(self.y, "y")
        sigma = _series(self.sigma, "sigma", like=y)
        if np.any(sigma <= 0):
            raise ValueError(f"the least sigma is {sigma.min()}; expected positive numbers")
        set_fields(self, y=y, sigma=sigma)

    @property
    def support(self) -> tuple[str, ...]:
        return ("real", "positive", *["real"] * len(np.asarray(self.y)))

    @property
    def names(self) -> tuple[str, ...]:
        return ("mu", "tau", *_numbered("theta", len(np.asarray(self.y))))

    def _parameters(self, x: Array) -> Array:
        return jnp.concatenate([x[:2], x[0] + x[1] * x[2:]])

    def _log_density(self, x: Array) -> Array:
        mu, tau, effects = x[0], x[1], x[2:]
        prior = norm.logpdf(mu, 0, 5) + cauchy.logpdf(tau, 0, 5) + jnp.sum(norm.logpdf(effects))
        y, sigma = jnp.asarray(self.y, x.dtype), jnp.asarray(self.sigma, x.dtype)
        likelihood = jnp.sum(norm.logpdf(y, mu + tau * effects, sigma))
        return _where(tau > 0, prior + likelihood)


@final
@dataclass(frozen=True, eq=False)
class ARK(AbstractPosterior):
    """An autoregressive series: each value is a linear function of those before, with noise.

    An event is (α, β, σ). `arK` of posteriordb.

    Attributes:
        y: (times,), the series.
        num_lags: values before that count; the first so many are given.

    Raises:
        ValueError: another shape, or a number that cannot be.
    """

    y: ArrayLike
    num_lags: int = 5

    def __post_init__(self) -> None:
        y = _series(self.y, "y")
        check_positive_int(self.num_lags, "num_lags")
        if len(y) <= self.num_lags:
            raise ValueError(f"y has {len(y)} values; expected more than num_lags={self.num_lags}")
        set_fields(self, y=y)

    @property
    def support(self) -> tuple[str, ...]:
        return ("real", *["real"] * self.num_lags, "positive")

    @property
    def names(self) -> tuple[str, ...]:
        return ("alpha", *_numbered("beta", self.num_lags), "sigma")

    def _log_density(self, x: Array) -> Array:
        alpha, beta, sigma = x[0], x[1:-1], x[-1]
        y = np.asarray(self.y)
        lags = np.lib.stride_tricks.sliding_window_view(y[:-1], self.num_lags)[:, ::-1]
        mean = alpha + jnp.asarray(lags, x.dtype) @ beta
        prior = norm.logpdf(alpha, 0, 10) + jnp.sum(norm.logpdf(beta, 0, 10))
        likelihood = jnp.sum(norm.logpdf(y[self.num_lags :], mean, sigma))
        return _where(sigma > 0, prior + cauchy.logpdf(sigma, 0, 2.5) + likelihood)


@final
@dataclass(frozen=True, eq=False)
class GARCH11(AbstractPosterior):
    """A series whose variance follows its last deviation and its last variance.

    An event is (μ, α₀, α₁, β₁ / (1 - α₁)): the last one so that β₁ stays below 1 - α₁.
    `garch11` of posteriordb, after Bollerslev, 1986, doi:10.1016/0304-4076(86)90063-1.

    Attributes:
        y: (times,), the series.
        sigma1: standard deviation of the first value.

    Raises:
        ValueError: another shape, or a number that cannot be.
    """

    y: ArrayLike
    sigma1: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.sigma1 < np.inf:
            raise ValueError(f"sigma1 is {self.sigma1}; expected a positive number")
        set_fields(self, y=_series(self.y, "y"))

    @property
    def support(self) -> tuple[str, ...]:
        return ("real", "positive", "interval(0, 1)", "interval(0, 1)")

    @property
    def names(self) -> tuple[str, ...]:
        return ("mu", "alpha0", "alpha1", "beta1")

    def _parameters(self, x: Array) -> Array:
        return x.at[3].set((1 - x[2]) * x[3])

    def _log_density(self, x: Array) -> Array:
        mu, alpha0, alpha1, beta1 = self._parameters(x)
        deviations = jnp.asarray(self.y, x.dtype) - mu

        def next_variance(variance: Array, deviation: Array) -> tuple[Array, Array]:
            return alpha0 + alpha1 * deviation**2 + beta1 * variance, variance

        first = jnp.asarray(self.sigma1**2, x.dtype)
        _, variances = lax.scan(next_variance, first, deviations, unroll=8)
        log_det = jnp.log1p(-alpha1)  # β₁ was replaced by its part of 1 - α₁
        inside = (alpha0 > 0) & (alpha1 > 0) & (alpha1 < 1) & (x[3] > 0) & (x[3] < 1)
        scale = jnp.sqrt(variances)
        return _where(inside, log_det + jnp.sum(norm.logpdf(deviations, 0, scale)))


@final
@dataclass(frozen=True, eq=False)
class KidScoreInteraction(AbstractPosterior):
    """A linear regression of children's test scores on two facts about their mothers.

    An event is (β, σ): intercept, high school, intelligence quotient, and their product, which
    the posterior correlates almost fully. `kidscore_interaction` of posteriordb, after Gelman and
    Hill, 2007, chapter 3.

    Attributes:
        kid_score: (children,).
        mom_hs: (children,), 1 where the mother finished high school, else 0.
        mom_iq: (children,).

    Raises:
        ValueError: another shape, or a number that cannot be.
    """

    kid_score: ArrayLike
    mom_hs: ArrayLike
    mom_iq: ArrayLike

    def __post_init__(self) -> None:
        score = _series(self.kid_score, "kid_score")
        hs, iq = (_series(getattr(self, name), name, like=score) for name in ("mom_hs", "mom_iq"))
        set_fields(self, kid_score=score, mom_hs=hs, mom_iq=iq)

    @property
    def support(self) -> tuple[str, ...]:
        return (*["real"] * 4, "positive")

    @property
    def names(self) -> tuple[str, ...]:
        return (*_numbered("beta", 4), "sigma")

    def _log_density(self, x: Array) -> Array:
        beta, sigma = x[:4], x[4]
        hs, iq = np.asarray(self.mom_hs), np.asarray(self.mom_iq)
        columns = jnp.asarray(np.stack([np.ones_like(hs), hs, iq, hs * iq], axis=1), x.dtype)
        mean = jnp.matmul(columns, beta, precision=lax.Precision.HIGHEST)
        likelihood = jnp.sum(norm.logpdf(jnp.asarray(self.kid_score, x.dtype), mean, sigma))
        return _where(sigma > 0, cauchy.logpdf(sigma, 0, 2.5) + likelihood)


def _series(values: Any, name: str, *, like: np.ndarray | None = None) -> np.ndarray:
    """Observations as numpy's array of float64.

    Raises:
        ValueError: they are no finite numbers in one row, or not as many as the others.
    """
    array = np.asarray(values, np.float64)
    expected = "(num,)" if like is None else f"{like.shape}, one for each of the first"
    if array.ndim != 1 or not array.size or (like is not None and array.shape != like.shape):
        raise ValueError(f"{name} has shape {array.shape}; expected {expected}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name}[{np.argmin(np.isfinite(array))}] is not finite")
    return array


def _numbered(name: str, number: int) -> list[str]:
    return [f"{name}[{i + 1}]" for i in range(number)]


def _where(inside: Array, log_density: Array) -> Array:
    return jnp.where(inside, log_density, -jnp.inf)
