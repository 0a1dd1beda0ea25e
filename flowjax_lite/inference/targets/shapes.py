"""Densities of known shape: a funnel, wells, a mixture, and energies in the plane."""

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.inference.targets.base import AbstractTarget

_LOG_TWO_PI = math.log(2 * math.pi)


@final
@dataclass(frozen=True)
class Funnel(AbstractTarget):
    """A normal v of standard deviation 3, and normals whose variance is exp(v).

    Its neck is narrow and deep, its mouth wide: no single scale fits a sampler's steps.

    Neal, 2003, doi:10.1214/aos/1056562461, section 8.

    Attributes:
        dim: length of an event, v first; at least 2.
    """

    dim: int = 10

    def __post_init__(self) -> None:
        check_positive_int(self.dim, "dim", minimum=2)

    @property
    def log_normalizer(self) -> float:
        """Zero: the density is normalised."""
        return 0.0

    def _log_density(self, x: Array) -> Array:
        v, rest = x[0], x[1:]
        log_neck = -0.5 * (v / 3) ** 2 - math.log(3)
        squares = jnp.sum((rest * jnp.exp(-0.5 * v)) ** 2)
        return log_neck - 0.5 * (squares + len(rest) * v + self.dim * _LOG_TWO_PI)

    def _sample(self, key: Array, num: int) -> Array:
        z = jax.random.normal(key, (num, self.dim))
        v = 3 * z[:, :1]
        return jnp.concatenate([v, jnp.exp(0.5 * v) * z[:, 1:]], axis=1)


@final
@dataclass(frozen=True)
class DoubleWell(AbstractTarget):
    """Two wells of unequal depth along the first entry; the second is a standard normal.

        -x₀⁴ + 6 x₀² + x₀ / 2 - x₁² / 2

    Noé, Olsson, Köhler and Wu, 2019, arXiv:1812.01729; with these numbers Midgley et al., 2023,
    arXiv:2208.01893, appendix E.
    """

    @property
    def dim(self) -> int:
        return 2

    @property
    def log_normalizer(self) -> float:
        """By the trapezoidal rule, to about twelve digits."""
        return _well().log_normalizer + 0.5 * _LOG_TWO_PI

    def _log_density(self, x: Array) -> Array:
        return _log_well(x[0]) - 0.5 * x[1] ** 2

    def _sample(self, key: Array, num: int) -> Array:
        return _sample_wells(key, num, 1)


@final
@dataclass(frozen=True)
class ManyWells(AbstractTarget):
    """The product of many double wells: 2 ** num_wells modes, of known weights.

    With 16 wells it is the MW32 of Midgley et al., 2023, arXiv:2208.01893, appendix E, whose log
    normalising constant is 164.696.

    Attributes:
        num_wells: pairs of entries (x₀, x₁), each a `DoubleWell`.
    """

    num_wells: int = 16

    def __post_init__(self) -> None:
        check_positive_int(self.num_wells, "num_wells")

    @property
    def dim(self) -> int:
        return 2 * self.num_wells

    @property
    def log_normalizer(self) -> float:
        """That of as many double wells."""
        return self.num_wells * (_well().log_normalizer + 0.5 * _LOG_TWO_PI)

    def _log_density(self, x: Array) -> Array:
        return jnp.sum(_log_well(x[::2])) - 0.5 * jnp.sum(x[1::2] ** 2)

    def _sample(self, key: Array, num: int) -> Array:
        return _sample_wells(key, num, self.num_wells)


@final
@dataclass(frozen=True)
class MixtureOf40Gaussians(AbstractTarget):
    """Forty normals in the plane at places drawn uniformly from [-40, 40]², all of one weight.

    What is learned from a flow's own samples easily misses some of them.

    Midgley et al., 2023, arXiv:2208.01893, section 4.1; the places are drawn anew, by numpy.

    Attributes:
        seed: of the places.
    """

    seed: int = 0

    @property
    def dim(self) -> int:
        return 2

    @property
    def log_normalizer(self) -> float:
        """Zero: the density is normalised."""
        return 0.0

    @property
    def locations(self) -> np.ndarray:
        """(40, 2), where the normals are."""
        return np.random.default_rng(self.seed).uniform(-40, 40, (40, 2))

    def _log_density(self, x: Array) -> Array:
        squares = jnp.sum(((x[None] - self.locations) / _WIDTH) ** 2, axis=1)
        constant = _LOG_TWO_PI + 2 * math.log(_WIDTH) + math.log(40)
        return jax.nn.logsumexp(-0.5 * squares) - constant

    def _sample(self, key: Array, num: int) -> Array:
        which, noise = jax.random.split(key)
        centre = jnp.asarray(self.locations)[jax.random.randint(which, (num,), 0, 40)]
        return centre + _WIDTH * jax.random.normal(noise, (num, 2))


@final
@dataclass(frozen=True)
class RezendeMohamed(AbstractTarget):
    """The four energies in the plane that planar flows were first shown on.

    1 is two arcs of a ring, 2 a wave, 3 two waves, one with a bump, and 4 two waves, one with a
    step. 2 to 4 do not fall off along the first entry, so that all of them get a wall around the
    square [-4, 4]² that the paper shows, without which they have no normalising constant.

    Rezende and Mohamed, 2015, arXiv:1505.05770, table 1.

    Attributes:
        potential: 1, 2, 3 or 4.
    """

    potential: int = 1

    def __post_init__(self) -> None:
        if self.potential not in (1, 2, 3, 4):
            raise ValueError(f"potential is {self.potential!r}; expected 1, 2, 3 or 4")

    @property
    def dim(self) -> int:
        return 2

    @property
    def log_normalizer(self) -> float:
        """From a sum over a grid, to about five digits after the point."""
        return _log_sum_over_grid(self)

    def _log_density(self, x: Array) -> Array:
        wall = jnp.sum(_log_normal(jnp.maximum(jnp.abs(x) - _WALL, 0), 0.5))
        return _ENERGIES[self.potential - 1](x) + wall


_WIDTH = math.log1p(math.e)  # of each of the forty normals: softplus(1) in the paper's code
_WALL = 4.0


class _Well(NamedTuple):
    points: np.ndarray
    cumulative: np.ndarray  # the distribution function there
    log_normalizer: float


@functools.cache
def _well() -> _Well:
    """The first entry of a double well, on a grid that holds all of its mass."""
    points = np.linspace(-4, 4, 40_001)
    density = np.exp(-(points**4) + 6 * points**2 + 0.5 * points)
    areas = 0.5 * (density[1:] + density[:-1]) * np.diff(points)
    cumulative = np.concatenate([[0.0], np.cumsum(areas)])
    return _Well(points, cumulative / cumulative[-1], math.log(cumulative[-1]))


def _log_well(x: Array) -> Array:
    return -(x**4) + 6 * x**2 + 0.5 * x


def _sample_wells(key: Array, num: int, num_wells: int) -> Array:
    along, across = jax.random.split(key)
    points, cumulative, _ = _well()
    u = jax.random.uniform(along, (num, num_wells))
    x = jnp.interp(u, jnp.asarray(cumulative), jnp.asarray(points))
    pairs = jnp.stack([x, jax.random.normal(across, (num, num_wells))], axis=-1)
    return pairs.reshape(num, 2 * num_wells)


def _log_normal(distance: Array, scale: float) -> Array:
    return -0.5 * (distance / scale) ** 2


def _ring(x: Array) -> Array:
    arcs = _log_normal(x[0] - 2, 0.6), _log_normal(x[0] + 2, 0.6)
    return _log_normal(jnp.linalg.norm(x) - 2, 0.4) + jnp.logaddexp(*arcs)


def _wave(x: Array) -> Array:
    return jnp.sin(2 * jnp.pi * x[0] / 4)


def _sine(x: Array) -> Array:
    return _log_normal(x[1] - _wave(x), 0.4)


def _bump(x: Array) -> Array:
    second = x[1] - _wave(x) + 3 * jnp.exp(_log_normal(x[0] - 1, 0.6))
    return jnp.logaddexp(_log_normal(x[1] - _wave(x), 0.35), _log_normal(second, 0.35))


def _step(x: Array) -> Array:
    second = x[1] - _wave(x) + 3 * jax.nn.sigmoid((x[0] - 1) / 0.3)
    return jnp.logaddexp(_log_normal(x[1] - _wave(x), 0.4), _log_normal(second, 0.35))


_ENERGIES = (_ring, _sine, _bump, _step)


@functools.cache
@jax.ensure_compile_time_eval()  # a number also where a caller is being traced
def _log_sum_over_grid(target: RezendeMohamed) -> float:
    size, end = 800, _WALL + 4
    centres = end * ((jnp.arange(size) + 0.5) / size * 2 - 1)
    rows = jax.vmap(lambda y: jax.vmap(lambda x: target(jnp.stack([x, y])))(centres))
    return float(jax.nn.logsumexp(rows(centres)) + 2 * np.log(2 * end / size))
