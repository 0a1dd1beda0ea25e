"""The unconstrained monotonic network: an integral of a positive function."""

import math
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.numerics.quadrature import clenshaw_curtis
from flowjax_lite.numerics.scalar import log_scale, soft_clip
from flowjax_lite.transformers.base import AbstractNumericalForward

# Soft bounds of raw weights. They keep the integrand so smooth that the quadrature of default
# size converges to rounding at moderate weights, and to a few digits at large ones of mixed
# signs. Where all weights of each layer have one sign and are near their bounds, steps can fall
# between its nodes.
_MAX_LOG_SLOPE = 1.0
_MAX_WEIGHT = 2.0
_MAX_BIAS = 5.0
# The first layer at parameters of zero: steps at different places, on the scale of the interval.
_FIRST_SLOPE = 5.0
_FIRST_CENTRES = 0.6


@dataclass(frozen=True)
class MonotonicNetwork(AbstractNumericalForward):
    """The integral of a positive network: x = β + ∫₀ʸ g(t; θ) dt, linear outside [-bound, bound].

    UMNN: Wehenkel and Louppe, 2019, arXiv:1908.05164, equations 1 and 5. log g is a network of
    tanh units whose weights are all parameters; the paper's integrand, with an embedding in its
    first layer and the other weights shared, is the case in which those are biases of the
    conditioner's last layer. Outside the interval g keeps its value at the end.

    The integral is a Clenshaw-Curtis sum, and that sum is the map: the log-determinant is the
    logarithm of the sum's own derivative, so densities are exact whatever the number of nodes.
    Where that derivative is not positive, as can be with few nodes or with all weights near
    their bounds, the log-determinant is NaN. The forward direction is numerical.

    Parameters per scalar: the weights of each layer and its biases, and β.

    Attributes:
        hidden: widths of the integrand's hidden layers.
        bound: half-width of the interval that the network acts on.
        num_nodes: number of nodes of the quadrature.
    """

    hidden: tuple[int, ...] = (8, 8)
    bound: float = 10.0
    num_nodes: int = 64

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, tuple) or not self.hidden:
            raise ValueError(f"hidden is {self.hidden!r}; expected a tuple of widths like (8, 8)")
        for width in self.hidden:
            check_positive_int(width, "a width in hidden")
        if not 0 < self.bound < math.inf:
            raise ValueError(f"bound is {self.bound}; expected a positive finite number")
        check_positive_int(self.num_nodes, "num_nodes", minimum=2)

    @property
    def num_params(self) -> int:
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise((1, *self.hidden, 1))) + 1

    def inverse_and_log_det(self, params: Array, y: Array) -> tuple[Array, Array]:
        # Values outside are replaced before the integral, so their gradients stay finite.
        finite = jnp.isfinite(y)
        safe = jnp.where(finite, y, 0.0)
        inner = jnp.clip(safe, -self.bound, self.bound)
        integral, slope, log_end = jax.jvp(
            lambda inner: self._integrate(params, inner), (inner,), (jnp.ones_like(inner),), True
        )
        x = params[-1] + integral + jnp.exp(log_end) * (safe - inner)
        log_slope = jnp.log(jnp.where(slope > 0, slope, jnp.nan))
        return jnp.where(finite, x, y), jnp.where(safe == inner, log_slope, log_end)

    def _integrate(self, params: Array, y: Array) -> tuple[Array, Array]:
        """The integral of g from 0 to y, and log g(y); both of y's shape."""
        nodes, weights = (
            jnp.asarray(values, y.dtype).reshape(-1, *(1,) * y.ndim)
            for values in clenshaw_curtis(self.num_nodes)
        )
        log_g = self._log_integrand(params, nodes * (y / self.bound)[None])
        return y * jnp.sum(weights * jnp.exp(log_g), axis=0), log_g[-1]

    def _log_integrand(self, params: Array, u: Array) -> Array:
        """log g at points u (nodes, *shape) in units of the bound; zero at parameters of zero."""

        def constant(values: np.ndarray) -> Array:
            return jnp.asarray(values, u.dtype).reshape(*values.shape, *(1,) * (u.ndim - 1))

        (first, bias), *others, (last, last_bias) = self._split(params)
        centres = constant(_FIRST_CENTRES * np.linspace(-1, 1, len(first) + 2)[1:-1, None])
        slopes = _FIRST_SLOPE * jnp.exp(log_scale(first, _MAX_LOG_SLOPE))
        h = jnp.tanh(slopes * (u[None] - centres) + bias[:, None])
        for kernel, bias in others:
            fixed = constant(_cosines(*kernel.shape[:2]))
            h = jnp.tanh(_product(fixed + soft_clip(kernel, _MAX_WEIGHT), h) + bias[:, None])
        return _product(soft_clip(last, _MAX_WEIGHT), h)[0] + last_bias

    def _split(self, params: Array) -> list[tuple[Array, Array]]:
        """The raw weights (fan_out, fan_in, *shape) and biases (fan_out, *shape) of each layer."""
        layers, start = [], 0
        for fan_in, fan_out in pairwise((1, *self.hidden, 1)):
            middle = start + fan_out * fan_in
            kernel = params[start:middle].reshape(fan_out, fan_in, *params.shape[1:])
            start = middle + fan_out
            layers.append((kernel, soft_clip(params[middle:start], _MAX_BIAS)))
        return layers


def _product(kernel: Array, h: Array) -> Array:
    """A layer's sums, of size one for weights of size one, at all nodes: (fan_out, nodes, *shape).

    Args:
        kernel: (fan_out, fan_in, *shape).
        h: (fan_in, nodes, *shape).
    """
    highest = lax.Precision.HIGHEST
    return jnp.einsum("oi...,in...->on...", kernel, h, precision=highest) / math.sqrt(len(h))


def _cosines(fan_out: int, fan_in: int) -> np.ndarray:
    """Fixed weights that make all units of a layer differ: orthogonal rows or columns."""
    size = max(fan_out, fan_in)
    i, j = np.arange(fan_out) + 0.5, np.arange(fan_in) + 0.5
    return math.sqrt(2) * np.cos(np.pi / size * np.outer(i, j))
