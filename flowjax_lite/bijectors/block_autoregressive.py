"""Block neural autoregressive layers: one network that is itself a monotone triangular map."""

from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jax.scipy.special import logsumexp

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.conditioners.activations import INCREASING, Activation, get_activation_among
from flowjax_lite.conditioners.mlp import check_hidden, condition_shape
from flowjax_lite.core.arrays import zeros
from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.numerics.product import check_compute_dtype, product
from flowjax_lite.numerics.random import lecun_normal
from flowjax_lite.numerics.root import monotone_root
from flowjax_lite.numerics.scalar import log_scale, soft_clip

_MAX_LOGIT = 10.0
_MAX_LOG_SCALE = 5.0
_MAX_BEND = 0.99
_MAX_BIAS = 3.0  # at the start, in units of the data


class BlockAutoregressive(AbstractBijector):
    """The inverse, which densities use, is a network in which every entry has units of its own.

    Units of an entry see the units of the entries before it with any weights, and those of the
    entry itself with positive ones: entry i of the output is increasing in entry i of the input,
    and does not see the entries after it. The density takes one pass. The forward direction
    finds the root of one entry after the other; it computes each unit once, but for the few of
    the entry whose root it looks for. Where it finds none, the event becomes NaN.

    The activation is (1 - bend) · h + bend · σ(h) with a bend between -1 and 1 for each unit.
    Unlike the tanh of the paper it reaches all real numbers, with tails that are lines, so there
    is a root for every target. Bends start at zero, and the layer as the identity, to rounding.
    The biases, spread around zero, keep the units of an entry from learning the same.

    B-NAF: De Cao, Titov and Aziz, 2019, arXiv:1904.04676, section 3. The weights of an entry's
    own units are normalised to a sum, where the paper normalises all weights to a length.
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden: tuple[int, ...] = (8, 8),
        condition_dim: int | None = None,
        activation: str | Activation = "tanh",
        compute_dtype: str = "float32",
        rngs: nnx.Rngs,
    ) -> None:
        """Build the layers of the network.

        Args:
            dim: number of entries.
            hidden: number of each entry's units in the hidden layers: (8, 8) is two layers of
                8 · dim units.
            condition_dim: length of the condition; None for none.
            activation: σ: "relu", "leaky_relu", "elu", "softplus" or "tanh".
            compute_dtype: of the products with the units of other entries: "float32",
                "tensorfloat32" or "bfloat16"; see `conditioners.check_compute_dtype`. What an
                entry does to itself is always computed in full.
            rngs: source of the initial weights.

        Raises:
            ValueError: activation is another.
        """
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = condition_shape(condition_dim)
        self.activation = get_activation_among(activation, INCREASING)
        self.compute_dtype = check_compute_dtype(compute_dtype)
        widths = (1, *check_hidden(hidden), 1)
        options: dict[str, Any] = {"condition_dim": condition_dim, "rngs": rngs}
        self.layers = nnx.List([BlockLinear(dim, a, b, **options) for a, b in pairwise(widths)])
        self.bends = nnx.List([nnx.Param(zeros((dim, width))) for width in widths[1:-1]])

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        def step(known: list[Array], inputs: tuple[Any, ...]) -> tuple[list[Array], Any]:
            i, x_i, kernels, blocks = inputs
            blocks = [
                block.moved(product(units.ravel(), kernel, self.compute_dtype))
                for block, units, kernel in zip(blocks, known, kernels, strict=True)
            ]

            def run(y_i: Array) -> tuple[list[Array], Array, Array]:
                units = [y_i[None]]
                log_slope = jnp.zeros_like(y_i)[None]
                for block in blocks:
                    h, log_slope = self._advance(block, units[-1], log_slope)
                    units.append(h)
                return units[:-1], units[-1][0], log_slope[0]

            y_i = monotone_root(lambda y_i: run(y_i)[1] - x_i, x_i)
            fresh, _, log_slope = run(y_i)
            known = [units.at[i].set(new) for units, new in zip(known, fresh, strict=True)]
            return known, (y_i, log_slope)

        dim = x.size
        # Units that are not known yet are zero, so their weights need no mask.
        known = [jnp.zeros((dim, layer.in_width), x.dtype) for layer in self.layers]
        kernels = [layer.kernel_by_entry() for layer in self.layers]
        inputs = jnp.arange(dim), x, kernels, self._blocks(condition)
        _, (y, log_slopes) = lax.scan(step, known, inputs)
        lost = jnp.any(jnp.isnan(y))
        return jnp.where(lost, jnp.nan, y), jnp.where(lost, jnp.nan, -jnp.sum(log_slopes))

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        h, log_slope = y[:, None], jnp.zeros_like(y)[:, None]
        for layer, block in zip(self.layers, self._blocks(condition), strict=True):
            others = product(h.ravel(), layer.kernel_below(), self.compute_dtype)
            block = block.moved(others.reshape(block.offset.shape))
            h, log_slope = jax.vmap(self._advance)(block, h, log_slope)
        return h[:, 0], jnp.sum(log_slope)

    def _blocks(self, condition: Array | None) -> list["Block"]:
        """What each layer does to an entry's own units, stacked over entries on axis 0."""
        bends = [*(soft_clip(bend[...], _MAX_BEND) for bend in self.bends), None]
        return [
            Block(layer.offset(condition, self.compute_dtype), layer.log_weights(), bend)
            for layer, bend in zip(self.layers, bends, strict=True)
        ]

    def _advance(self, block: "Block", h: Array, log_slope: Array) -> tuple[Array, Array]:
        """One layer of one entry: its units (out_width,), and the logarithms of their slopes.

        Args:
            block: of this entry, moved by what comes from the entries before.
            h: (in_width,), the units of the layer before.
            log_slope: (in_width,), the logarithms of their derivatives by the entry.
        """
        h = product(h, jnp.exp(block.log_weights), "float32") + block.offset
        log_slope = logsumexp(log_slope[:, None] + block.log_weights, axis=0)
        if block.bend is None:
            return h, log_slope
        bent, slope = jax.jvp(self.activation, (h,), (jnp.ones_like(h),))
        straight = 1 - block.bend
        return straight * h + block.bend * bent, log_slope + jnp.log(straight + block.bend * slope)


class Block(NamedTuple):
    """What one layer does to the units of one entry; stacked over entries on axis 0."""

    offset: Array  # (out_width,)
    log_weights: Array  # (in_width, out_width)
    bend: Array | None  # (out_width,)

    def moved(self, others: Array) -> "Block":
        """The block with what comes from the entries before added to its offset."""
        return self._replace(offset=self.offset + others)


class BlockLinear(nnx.Module):
    """A dense layer between units that belong to entries, ordered by entry."""

    def __init__(
        self,
        dim: int,
        in_width: int,
        out_width: int,
        *,
        condition_dim: int | None,
        rngs: nnx.Rngs,
    ) -> None:
        def draw(rows: int) -> Array:
            kernel = lecun_normal(rngs.params(), (rows, dim * out_width))
            # The units of an entry are averaged in the end: the average starts without others.
            blocks = kernel.reshape(rows, dim, out_width)
            return (blocks - jnp.mean(blocks, axis=2, keepdims=True)).reshape(kernel.shape)

        self.dim, self.in_width, self.out_width = dim, in_width, out_width
        # Blocks above the diagonal are not used; those on it hold logits of positive weights.
        self.kernel = nnx.Param(jnp.where(self._is_below(), draw(dim * in_width), 0))
        self.raw_scale = nnx.Param(zeros((dim, out_width)))
        spread = _MAX_BIAS * (2 * (np.arange(out_width) + 0.5) / out_width - 1)
        self.bias = nnx.Param(zeros((dim, out_width)) + jnp.asarray(spread)[None])
        self.condition_kernel = None if condition_dim is None else nnx.Param(draw(condition_dim))

    def log_weights(self) -> Array:
        """(dim, in_width, out_width): logarithms of the weights between an entry's own units."""
        entries = np.arange(self.dim)
        logits = self._by_entry()[entries, :, entries, :]
        scale = log_scale(self.raw_scale[...], _MAX_LOG_SCALE)[:, None, :]
        return jax.nn.log_softmax(soft_clip(logits, _MAX_LOGIT), axis=1) + scale

    def offset(self, condition: Array | None, compute_dtype: str) -> Array:
        """(dim, out_width): the bias, and what comes from the condition."""
        bias = self.bias[...]
        if self.condition_kernel is None or condition is None:
            return bias
        return bias + product(condition, self.condition_kernel[...], compute_dtype).reshape(
            bias.shape
        )

    def kernel_below(self) -> Array:
        """(dim · in_width, dim · out_width): the weights from entries before."""
        return jnp.where(self._is_below(), self.kernel[...], 0)

    def kernel_by_entry(self) -> Array:
        """(dim, dim · in_width, out_width): the weights to each entry, from all."""
        return jnp.moveaxis(self.kernel[...].reshape(-1, self.dim, self.out_width), 1, 0)

    def _by_entry(self) -> Array:
        return self.kernel[...].reshape(self.dim, self.in_width, self.dim, self.out_width)

    def _is_below(self) -> Array:
        entries = jnp.arange(self.dim)
        below = jnp.repeat(entries, self.in_width)[:, None]
        return below < jnp.repeat(entries, self.out_width)[None, :]
