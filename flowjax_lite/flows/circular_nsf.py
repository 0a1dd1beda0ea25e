"""Spline couplings on tori: for angles, and for angles beside real numbers."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from flax import nnx

from flowjax_lite.bijectors import AbstractBijector, Chain, Coupling, Permutation, Repeat
from flowjax_lite.conditioners import Periodic, ResidualMLP
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.core.checks import check_choice, check_columns, check_positive_int
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions import AbstractBase, Flow, Product, StandardNormal, Uniform
from flowjax_lite.transformers import (
    AbstractTransformer,
    CircularSpline,
    RationalQuadraticSpline,
)


@remembers_recipe
def circular_nsf(
    *,
    dim: int,
    condition_dim: int | None = None,
    num_layers: int = 4,
    hidden: tuple[int, ...] = (128, 128),
    circular: tuple[int, ...] | None = None,
    num_bins: int = 8,
    bound: float = 5.0,
    activation: str | Activation = "relu",
    data_map: AbstractBijector | None = None,
    condition_map: AbstractBijector | None = None,
    gradient: str = "store",
    compute_dtype: str = "float32",
    rngs: nnx.Rngs,
) -> Flow:
    """Spline couplings whose density is smooth and periodic in angles.

    Some columns are angles in [-π, π), uniform in the latent; the others are real numbers,
    normal in the latent. Networks see angles by cosine and sine.

    Circular splines: Rezende et al., 2020, Normalizing Flows on Tori and Spheres,
    arXiv:2002.02428; real numbers as in Durkan et al., 2019, arXiv:1906.04032, but without
    linear maps, which would tear a torus.

    Args:
        dim: dimension of an event; 1 is allowed.
        condition_dim: dimension of a condition; None for an unconditional flow.
        num_layers: number of layers. One layer transforms every column once: angles in two
            couplings, real numbers in two more, each given all columns but its own.
        hidden: width of each residual block, all equal; (128, 128) is two blocks.
        circular: the columns that are angles; None is all of them.
        num_bins: number of bins of each spline.
        bound: splines of real numbers act on [-bound, bound], in units of the latent.
        activation: name or function.
        data_map: fixed bijector from unit scale to the data, such as
            `Standardize.from_data(x, keep=circular)`, that leaves angles as they are; None for
            data already of unit scale.
        condition_map: the same for conditions.
        gradient: what a backward pass keeps of each layer: "store" all that it needs, or
            "recompute" its input; see `Repeat`. An angle next to the cut cannot be rebuilt.
        compute_dtype: of the networks' products: "float32", "tensorfloat32" or "bfloat16"; see
            `conditioners.check_compute_dtype`.
        rngs: source of the initial weights.

    Returns:
        The flow, a change of order at initialisation.
    """
    check_choice(gradient, ("store", "recompute"), "gradient")
    columns = range(check_positive_int(dim, "dim"))
    angles = sorted(check_columns(columns if circular is None else circular, dim, "circular"))
    reals = sorted(set(columns).difference(angles))
    make_layer = _layer(
        # Inside, angles come before real numbers.
        [
            *_halves(CircularSpline(num_bins), len(angles)),
            *_halves(RationalQuadraticSpline(num_bins, bound), len(reals)),
        ],
        hidden=hidden,
        condition_dim=condition_dim,
        activation=activation,
        compute_dtype=compute_dtype,
    )
    parts: list[AbstractBijector] = [
        Repeat(make_layer, num_layers, gradient=gradient, rngs=rngs),
        Permutation(np.argsort([*angles, *reals])),
    ]
    if data_map is not None:
        parts.append(data_map)
    return Flow(_base(len(angles), len(reals)), Chain(parts), condition_map=condition_map)


class _Group(NamedTuple):
    """Columns that one coupling transforms."""

    transformer: AbstractTransformer
    size: int


def _halves(transformer: AbstractTransformer, size: int) -> list[_Group]:
    """Columns of one kind in two groups, or in one if there is a single column."""
    return [_Group(transformer, n) for n in (size // 2, size - size // 2) if n]


def _base(num_angles: int, num_reals: int) -> AbstractBase:
    bases: list[AbstractBase] = []
    if num_angles:
        bases.append(Uniform(num_angles, low=-math.pi, high=math.pi))
    if num_reals:
        bases.append(StandardNormal(num_reals))
    return bases[0] if len(bases) == 1 else Product(bases)


def _layer(groups: list[_Group], **settings: Any) -> Callable[[nnx.Rngs], AbstractBijector]:
    """A maker of layers: a coupling for each group given all others, then a change of order.

    Columns change their places with columns of their kind alone.
    """
    sizes = [group.size for group in groups]
    is_angle = [isinstance(group.transformer, CircularSpline) for group in groups]
    num_angles = sum(size for size, angle in zip(sizes, is_angle, strict=True) if angle)
    kinds = [n for n in (num_angles, sum(sizes) - num_angles) if n]

    def make_layer(rngs: nnx.Rngs) -> AbstractBijector:
        parts: list[AbstractBijector] = []
        *kept, moved = groups
        for _ in groups:
            parts += [
                _coupling(kept, moved, rngs=rngs, **settings),
                # The group that was transformed goes to the front.
                Permutation(np.roll(np.arange(sum(sizes)), moved.size)),
            ]
            *kept, moved = moved, *kept
        return Chain([*parts, Permutation.random(sum(sizes), parts=kinds, rngs=rngs)])

    return make_layer


def _coupling(kept: list[_Group], moved: _Group, **settings: Any) -> Coupling:
    """A coupling that transforms one group, the last, given those before it."""
    circular = [
        isinstance(group.transformer, CircularSpline) for group in kept for _ in range(group.size)
    ]
    network = ResidualMLP(
        len(circular) + sum(circular),
        out_shape=(moved.transformer.num_params, moved.size),
        **settings,
    )
    angles = [i for i, is_angle in enumerate(circular) if is_angle]
    return Coupling(moved.transformer, Periodic(network, angles))
