"""Coupling flows: one half of an event is transformed given the other, then entries change places.

Density and sampling take one pass each. The flows differ in the scalar map, in the network, and
in what stands between two couplings.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Unpack

import numpy as np
from flax import nnx

from flowjax_lite.bijectors import (
    LU,
    AbstractBijector,
    ActNorm,
    Chain,
    Coupling,
    Permutation,
    Repeat,
    Scale,
)
from flowjax_lite.conditioners import MLP, Periodic, ResidualMLP
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.core.checks import check_choice, check_columns, check_positive_int
from flowjax_lite.distributions import AbstractBase, Flow, Product, StandardNormal, Uniform
from flowjax_lite.flows.options import (
    ConditionerOptions,
    Network,
    NetworkOptions,
    check_transformer,
    flow_factory,
    network_options,
    without_effect,
)
from flowjax_lite.flows.stacking import Order, stack
from flowjax_lite.numerics.product import ComputeDtype
from flowjax_lite.transformers import (
    AbstractTransformer,
    Additive,
    Affine,
    CircularSpline,
    LogisticMixture,
    RationalQuadraticSpline,
)

_NETWORKS: dict[str, type[MLP] | type[ResidualMLP]] = {"mlp": MLP, "residual": ResidualMLP}


@flow_factory
def coupling(
    transformer: AbstractTransformer,
    *,
    num_layers: int = 8,
    network: Network = "mlp",
    order: Order = "random",
    linear: bool = False,
    **options: Unpack[ConditionerOptions],
) -> Flow:
    """Coupling layers of any transformer: density and sampling each take one pass.

    Named coupling flows are this one with a transformer of their own.

    Coupling layers: Dinh, Krueger and Bengio, 2014, arXiv:1410.8516.

    Args:
        transformer: the scalar map of the entries that a layer transforms.
        network: "mlp" for `MLP`, "residual" for `ResidualMLP`, whose widths in hidden are equal.
        order: of the entries after each layer: "random", or "reverse".
        linear: also put a learned `LU` map after each layer.

    Example:
        >>> import flowjax_lite as fl
        >>> from flax import nnx
        >>> cubic = fl.transformers.CubicSpline(num_bins=8)
        >>> flow = fl.flows.coupling(cubic, dim=4, network="residual", rngs=nnx.Rngs(0))
    """
    layer = _coupling_layer(check_transformer(transformer), network, options)
    small = isinstance(transformer, Additive | Affine)
    return stack(layer, num_layers, options, order=order, linear=linear, one_round=small)


def _coupling_layer(
    transformer: AbstractTransformer, network: str, options: ConditionerOptions
) -> Callable[[nnx.Rngs], AbstractBijector]:
    """A maker of coupling layers that keep the first half of the event."""
    make_network = _NETWORKS[check_choice(network, tuple(_NETWORKS), "network")]
    dim = options["dim"]
    kept = dim // 2

    def make_layer(rngs: nnx.Rngs) -> AbstractBijector:
        conditioner = make_network(
            kept,
            out_shape=(transformer.num_params, dim - kept),
            **network_options(options),
            rngs=rngs,
        )
        return Coupling(transformer, conditioner)

    return make_layer


@flow_factory
def nice(
    *,
    num_layers: int = 8,
    input_activation: str | Activation = "arcsinh",
    **options: Unpack[NetworkOptions],
) -> Flow:
    """Volume-preserving couplings, then one learned scale per entry.

    NICE: Dinh, Krueger and Bengio, 2014, arXiv:1410.8516.
    """
    scale, data_map = Scale(options["dim"]), options["data_map"]
    options["data_map"] = scale if data_map is None else Chain([scale, data_map])
    return coupling(Additive(), num_layers=num_layers, input_activation=input_activation, **options)


@flow_factory
def realnvp(
    *,
    num_layers: int = 8,
    input_activation: str | Activation = "arcsinh",
    **options: Unpack[NetworkOptions],
) -> Flow:
    """Affine couplings: density and sampling each take one pass.

    RealNVP: Dinh, Sohl-Dickstein and Bengio, 2017, arXiv:1605.08803.
    """
    return coupling(Affine(), num_layers=num_layers, input_activation=input_activation, **options)


@flow_factory
def glow_1d(
    *,
    num_layers: int = 8,
    input_activation: str | Activation = "arcsinh",
    **options: Unpack[NetworkOptions],
) -> Flow:
    """Affine couplings between learned linear maps and normalisations: one pass either way.

    Each block is, from the data to the latent, a random permutation, `ActNorm`, `LU` and a
    coupling: the steps of Glow without its images, as a permutation and an elementwise layer may
    change places. Set the normalisations from data before training, with
    `flow = fl.initialize(flow, x)`.

    Glow: Kingma and Dhariwal, 2018, arXiv:1807.03039, section 3.

    Args:
        num_layers: number of blocks.
        data_map: fixed bijector from unit scale to the data, such as
            `Standardize.from_data(x)`; None for data already of unit scale, and for flows that
            `initialize` sets from data.

    Returns:
        The flow, the identity map at initialisation but for the order of the entries.
    """
    make_coupling = _coupling_layer(
        Affine(), "mlp", {"input_activation": input_activation, **options}
    )

    def make_layer(rngs: nnx.Rngs) -> AbstractBijector:
        return Chain([make_coupling(rngs), LU(options["dim"]), ActNorm(options["dim"])])

    return stack(make_layer, num_layers, options, order="random", one_round=True)


@flow_factory
def flowpp(
    *, num_layers: int = 8, num_components: int = 8, **options: Unpack[ConditionerOptions]
) -> Flow:
    """Couplings by mixtures of logistic distribution functions, with linear maps between them.

    The density takes one pass, and so do samples, whose every layer solves for its output.

    Flow++: Ho, Chen, Srinivas, Duan and Abbeel, 2019, arXiv:1902.00275, section 3.2; its
    dequantisation, convolutions and self-attention are for images, and are left out.

    Args:
        hidden: width of each residual block, all equal; (128, 128) is two blocks.
        num_components: number of components of each mixture, at least 2.
    """
    mixture = LogisticMixture(num_components)
    return coupling(mixture, num_layers=num_layers, network="residual", linear=True, **options)


@flow_factory
def nsf_coupling(
    *,
    num_layers: int = 8,
    num_bins: int = 8,
    bound: float = 5.0,
    **options: Unpack[ConditionerOptions],
) -> Flow:
    """Spline couplings with learned linear maps between them.

    RQ-NSF (C): Durkan, Bekasov, Murray and Papamakarios, 2019, arXiv:1906.04032.

    Args:
        hidden: width of each residual block, all equal; (128, 128) is two blocks.
        num_bins: number of bins of each spline.
        bound: the splines act on [-bound, bound], in units of the latent.
    """
    spline = RationalQuadraticSpline(num_bins, bound)
    return coupling(spline, num_layers=num_layers, network="residual", linear=True, **options)


@without_effect(
    "bound",
    when=lambda options: options["circular"] is None or len(options["circular"]) == options["dim"],
    reason="whose columns are all angles",
)
@flow_factory
def circular_nsf(
    *,
    dim: int,
    condition_dim: int | None = None,
    num_layers: int = 4,
    hidden: tuple[int, ...] = (128, 128),
    circular: tuple[int, ...] | None = None,
    num_bins: int = 8,
    bound: float = 5.0,
    activation: str | Activation = "silu",
    data_map: AbstractBijector | None = None,
    condition_map: AbstractBijector | None = None,
    gradient: Literal["store", "recompute"] = "store",
    compute_dtype: ComputeDtype = "float32",
    rngs: nnx.Rngs,
) -> Flow:
    """Spline couplings whose density is smooth and periodic in angles.

    Some columns are angles in [-π, π), uniform in the latent; the others are real numbers,
    normal in the latent. Networks see angles by cosine and sine.

    Circular splines: Rezende et al., 2020, Normalizing Flows on Tori and Spheres,
    arXiv:2002.02428; real numbers as in Durkan et al., 2019, arXiv:1906.04032, but without
    linear maps, which would tear a torus.

    Args:
        num_layers: number of layers. One layer transforms every column once: angles in two
            couplings, real numbers in two more, each given all columns but its own.
        hidden: width of each residual block, all equal; (128, 128) is two blocks.
        circular: the columns that are angles; None is all of them.
        num_bins: number of bins of each spline.
        bound: splines of real numbers act on [-bound, bound], in units of the latent.
        data_map: fixed bijector from unit scale to the data, such as
            `Standardize.from_data(x, keep=circular)`, that leaves angles as they are; None for
            data already of unit scale.
        gradient: what a backward pass keeps of each layer: "store" all that it needs, or
            "recompute" its input; see `Repeat`. An angle next to the cut cannot be rebuilt.

    Returns:
        The flow, a change of order at initialisation.
    """
    check_choice(gradient, ("store", "recompute"), "gradient")
    columns = range(check_positive_int(dim, "dim"))
    angles = sorted(check_columns(columns if circular is None else circular, dim, "circular"))
    reals = sorted(set(columns).difference(angles))
    make_layer = _torus_layer(
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
    return Flow(_torus_base(len(angles), len(reals)), Chain(parts), condition_map=condition_map)


class _Group(NamedTuple):
    """Columns that one coupling transforms."""

    transformer: AbstractTransformer
    size: int


def _halves(transformer: AbstractTransformer, size: int) -> list[_Group]:
    """Columns of one kind in two groups, or in one if there is a single column."""
    return [_Group(transformer, n) for n in (size // 2, size - size // 2) if n]


def _torus_base(num_angles: int, num_reals: int) -> AbstractBase:
    bases: list[AbstractBase] = []
    if num_angles:
        bases.append(Uniform(num_angles, low=-math.pi, high=math.pi))
    if num_reals:
        bases.append(StandardNormal(num_reals))
    return bases[0] if len(bases) == 1 else Product(bases)


def _torus_layer(groups: list[_Group], **settings: Any) -> Callable[[nnx.Rngs], AbstractBijector]:
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
                _torus_coupling(kept, moved, rngs=rngs, **settings),
                # The group that was transformed goes to the front.
                Permutation(np.roll(np.arange(sum(sizes)), moved.size)),
            ]
            *kept, moved = moved, *kept
        return Chain([*parts, Permutation.random(sum(sizes), parts=kinds, rngs=rngs)])

    return make_layer


def _torus_coupling(kept: list[_Group], moved: _Group, **settings: Any) -> Coupling:
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
