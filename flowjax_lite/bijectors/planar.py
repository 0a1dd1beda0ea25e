"""Planar layers: the event moves along one direction, by a function of one projection."""

import math
from typing import Any, Literal, Self, get_args

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.bijectors.given import before_soft_clip, given_array
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.conditioners.amortized import AmortizedParams
from flowjax_lite.core.checks import check_choice, check_positive_int, default_dtype
from flowjax_lite.numerics.random import normal
from flowjax_lite.numerics.residual import (
    before_slope_factor,
    slope_factor,
    solve_residual_tanh,
    tanh_and_slope,
)
from flowjax_lite.numerics.scalar import soft_clip

PlanarNonlinearity = Literal["tanh", "leaky_relu"]
PLANAR_NONLINEARITIES: tuple[str, ...] = get_args(PlanarNonlinearity)
_LEAK = 0.1
_MAX_WEIGHT, _MAX_SHIFT = 10.0, 100.0


class Planar(AbstractBijector):
    """Bend space along one hyperplane: f(x) = x + u h(w·x + b).

    Forward is a closed form; so is the inverse for `"leaky_relu"`, of slope 0.1 below zero, while
    for `"tanh"` it takes the root of one scalar function, as the event moves along u alone. The
    determinant of `"leaky_relu"` jumps at the hyperplane, which gradients do not see, so training
    places hyperplanes badly: prefer `"tanh"` unless both directions must be closed forms.

    Rezende and Mohamed, 2015, arXiv:1505.05770, equations 10 to 12. Invertibility needs
    w·u > -1. Appendix A.1 moves u along w to that end; here u is scaled instead, which reaches
    the same maps, and is smooth where w vanishes.
    """

    def __init__(
        self,
        dim: int,
        *,
        nonlinearity: str = "tanh",
        condition_dim: int | None = None,
        hidden: tuple[int, ...] = (64, 64),
        activation: str | Activation = "relu",
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Draw a direction w; the layer starts as the identity, with u and b of zero.

        Args:
            dim: number of entries.
            nonlinearity: h, "tanh" or "leaky_relu".
            condition_dim: length of the condition; None for none, and then the settings below
                must be left out.
            hidden: widths of the network from the condition to the parameters.
            activation: name or function, of the network.
            compute_dtype: of the network's products; see `conditioners.check_compute_dtype`.
            rngs: source of w and of the network's weights.

        Raises:
            ValueError: dim is below 1, or nonlinearity is none of the two.
        """
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.nonlinearity = check_choice(nonlinearity, PLANAR_NONLINEARITIES, "nonlinearity")
        w = normal(rngs.params(), (dim,)) / math.sqrt(dim)
        self.params = AmortizedParams(
            jnp.concatenate([w, jnp.zeros(dim + 1)]),
            condition_dim=condition_dim,
            hidden=hidden,
            activation=activation,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        self.condition_shape = self.params.condition_shape

    @classmethod
    def from_arrays(cls, w: Any, u: Any, b: float = 0.0, *, nonlinearity: str = "tanh") -> Self:
        """f(x) = x + u h(w·x + b) at the start, with these numbers.

        Args:
            w: (dim,), entries between -10 and 10.
            u: (dim,), with w·u above -0.99.
            b: a number between -100 and 100.
            nonlinearity: h, "tanh" or "leaky_relu".

        Raises:
            ValueError: w·u is so low that the map has no inverse, or a number is out of bounds.
        """
        w = given_array(w, "w")
        u = given_array(u, "u", w.shape)
        product = float(w @ u)
        raw_product = float(before_slope_factor(jnp.asarray(product)))
        if math.isnan(raw_product):
            raise ValueError(
                f"w·u is {product:.4g}; expected a number between -0.99 and 100. Along u the map "
                f"has the slope 1 + w·u h′, which must stay positive: shorten u, or pass the "
                f"paper's û = u + (log(1 + exp(w·u)) - 1 - w·u) w / |w|²"
            )
        if raw_product:
            u = u * (raw_product / product)  # the layer scales it back, to what was given
        layer = cls(len(w), nonlinearity=nonlinearity, rngs=nnx.Rngs(0))
        raw = [
            before_soft_clip(w, _MAX_WEIGHT, "w"),
            before_soft_clip(u, _MAX_WEIGHT, "u, scaled for w·u > -1,"),
            before_soft_clip(given_array(b, "b", ())[None], _MAX_SHIFT, "b"),
        ]
        layer.params.value[...] = jnp.asarray(np.concatenate(raw), default_dtype())
        return layer

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        w, u, b, s = self._params(condition)
        h, slope = self._activate(_dot(w, x) + b)
        return x + u * h, jnp.log1p(s * slope)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        w, u, b, s = self._params(condition)
        # The projection a = w·x + b alone is bent: a + s h(a) is that of y.
        target = _dot(w, y) + b
        if self.nonlinearity == "tanh":
            a = solve_residual_tanh(s, target)
        else:
            a = target / (1 + s * _leaky_slope(target))
        h, slope = self._activate(a)
        return y - u * h, -jnp.log1p(s * slope)

    def _params(self, condition: Array | None) -> tuple[Array, Array, Array, Array]:
        """The vectors w and u, the numbers b and s = w·u > -1."""
        (dim,) = self.event_shape
        params = self.params(condition)
        w, u = (soft_clip(v, _MAX_WEIGHT) for v in (params[:dim], params[dim:-1]))
        b = soft_clip(params[-1], _MAX_SHIFT)
        product = _dot(w, u)
        factor = slope_factor(product)
        return w, u * factor, b, product * factor

    def _activate(self, a: Array) -> tuple[Array, Array]:
        """h(a) and its derivative."""
        if self.nonlinearity == "tanh":
            return tanh_and_slope(a)
        slope = _leaky_slope(a)
        return a * slope, slope


def _leaky_slope(a: Array) -> Array:
    return jnp.where(a < 0, jnp.full_like(a, _LEAK), jnp.ones_like(a))


def _dot(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
