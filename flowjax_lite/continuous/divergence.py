"""The divergence tr(∂v/∂x) of a velocity v(x), exactly or by random probes.

Velocity and divergence come from one evaluation: v is linearised once, and its Jacobian is applied
to all probes together, in forward mode.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from flowjax_lite.core.checks import check_choice, check_positive_int
from flowjax_lite.core.recipe import Recorded
from flowjax_lite.numerics.random import normal, rademacher

Velocity = Callable[[Array], Array]
NOISE = ("rademacher", "gaussian")


class Flux(NamedTuple):
    """A velocity v at x, and what is known of its Jacobian J.

    Attributes:
        velocity: v, of x's shape.
        divergence: tr J, or an unbiased estimate.
        squared_norm: the sum of the squared entries of J, or an unbiased estimate.
    """

    velocity: Array
    divergence: Array
    squared_norm: Array


class AbstractDivergence(Recorded, ABC, kind="divergence"):
    """A way to find the divergence: a frozen dataclass without arrays.

    Probes are drawn once for each solve, so that the solver sees a smooth right-hand side.
    """

    @abstractmethod
    def probes(self, key: Array, size: int, dtype: jnp.dtype) -> Array:
        """The random directions (probes, size) of one solve, for events of that many entries."""

    @abstractmethod
    def evaluate(self, function: Velocity, x: Array, probes: Array) -> Flux:
        """The velocity function(x) and its divergence, along these probes."""


@dataclass(frozen=True)
class Exact(AbstractDivergence):
    """The trace of the Jacobian, from one Jacobian-vector product for each entry of x.

    The products share one linearisation and run side by side. For events of some hundred
    entries and more an estimate is cheaper in training.
    """

    def probes(self, key: Array, size: int, dtype: jnp.dtype) -> Array:
        return jnp.eye(size, dtype=dtype)

    def evaluate(self, function: Velocity, x: Array, probes: Array) -> Flux:
        velocity, products = _apply_jacobian(function, x, probes)
        return Flux(velocity, jnp.sum(products * probes), jnp.sum(products**2))


@dataclass(frozen=True)
class Hutchinson(AbstractDivergence):
    """The mean of εᵀJε over random probes ε: unbiased.

    Its variance is that of the off-diagonal entries: for one probe of signs 2 Σ_{i≠j} S_ij² with
    S the symmetric part of J, and 2 Σ_ij S_ij² for a Gaussian one.

    Hutchinson, 1989, doi:10.1080/03610918908812806; in FFJORD, arXiv:1810.01367, equation 7.

    Attributes:
        num_probes: number of probes.
        noise: "rademacher", random signs, or "gaussian".
    """

    num_probes: int = 1
    noise: str = "rademacher"

    def __post_init__(self) -> None:
        check_positive_int(self.num_probes, "num_probes")
        check_choice(self.noise, NOISE, "noise")

    def probes(self, key: Array, size: int, dtype: jnp.dtype) -> Array:
        return _noise(self.noise, key, (self.num_probes, size), dtype)

    def evaluate(self, function: Velocity, x: Array, probes: Array) -> Flux:
        velocity, products = _apply_jacobian(function, x, probes)
        divergence = jnp.sum(products * probes) / self.num_probes
        return Flux(velocity, divergence, jnp.sum(products**2) / self.num_probes)


@dataclass(frozen=True)
class HutchPlusPlus(AbstractDivergence):
    """Hutchinson's estimate outside a subspace in which the trace is exact: unbiased.

        tr(QᵀJQ) + mean of gᵀ(1 - QQᵀ) J (1 - QQᵀ)g

    Q is an orthonormal basis of J times random signs. Where a few directions make most of J, the
    variance falls with the square of the number of products. With as many directions as x has
    entries, or more, it is exact. Q is not differentiated: for any fixed Q the estimate, and so
    its gradient, is unbiased.

    Meyer, Musco, Musco and Woodruff, 2021, arXiv:2010.09649, algorithm 1.

    Attributes:
        num_probes: directions in Q, and as many probes outside.
    """

    num_probes: int = 4

    def __post_init__(self) -> None:
        check_positive_int(self.num_probes, "num_probes")

    def probes(self, key: Array, size: int, dtype: jnp.dtype) -> Array:
        return _noise("rademacher", key, (2 * self.num_probes, size), dtype)

    def evaluate(self, function: Velocity, x: Array, probes: Array) -> Flux:
        sketch, outside = jnp.split(probes, 2)
        _, products = _apply_jacobian(function, lax.stop_gradient(x), sketch)
        basis = lax.stop_gradient(jnp.linalg.qr(products.T)[0].T)  # (directions, size)
        inner = jnp.matmul(outside, basis.T, precision=lax.Precision.HIGHEST)
        outside -= jnp.matmul(inner, basis, precision=lax.Precision.HIGHEST)
        both = jnp.concatenate([basis, outside])
        velocity, products = _apply_jacobian(function, x, both)
        traces, norms = jnp.sum(products * both, axis=1), jnp.sum(products**2, axis=1)
        exact, rest = slice(len(basis)), slice(len(basis), None)
        return Flux(
            velocity,
            jnp.sum(traces[exact]) + jnp.sum(traces[rest]) / self.num_probes,
            jnp.sum(norms[exact]) + jnp.sum(norms[rest]) / self.num_probes,
        )


def _noise(kind: str, key: Array, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    draw = rademacher if kind == "rademacher" else normal
    return draw(key, shape, dtype)


def _apply_jacobian(function: Velocity, x: Array, directions: Array) -> tuple[Array, Array]:
    """function(x), and the Jacobian there times each of the directions (number, x.size)."""

    def along(direction: Array) -> tuple[Array, Array]:
        value, product = jax.jvp(function, (x,), (direction.reshape(x.shape),))
        return value, product.ravel()

    if len(directions) == 1:  # an axis of length one would be copied about between layouts
        value, product = along(directions[0])
        return value, product[None]
    return jax.vmap(along, out_axes=(None, 0))(directions)
