"""Autoregressive flows: each entry is transformed given the entries before it.

The density takes one parallel pass, and sampling goes through the entries one by one; inverted
layers have it the other way round. The flows differ in the scalar map and in the network.
"""

from typing import Literal, Unpack

from flax import nnx

from flowjax_lite.bijectors import (
    AbstractBijector,
    BlockAutoregressive,
    Invert,
    MaskedAutoregressive,
)
from flowjax_lite.conditioners import MADE, ResidualMADE
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.core.checks import check_choice
from flowjax_lite.distributions import Flow
from flowjax_lite.flows.options import (
    ConditionerOptions,
    FlowOptions,
    Network,
    NetworkOptions,
    check_transformer,
    flow_factory,
    network_options,
)
from flowjax_lite.flows.stacking import Order, stack
from flowjax_lite.transformers import (
    AbstractTransformer,
    Additive,
    Affine,
    Bernstein,
    DeepDenseSigmoid,
    DeepSigmoid,
    MonotonicNetwork,
    RationalQuadraticSpline,
    SumOfSquares,
)

_NETWORKS: dict[str, type[MADE] | type[ResidualMADE]] = {"mlp": MADE, "residual": ResidualMADE}
_SIGMOIDAL: dict[str, type[DeepSigmoid] | type[DeepDenseSigmoid]] = {
    "dsf": DeepSigmoid,
    "ddsf": DeepDenseSigmoid,
}


@flow_factory
def autoregressive(
    transformer: AbstractTransformer,
    *,
    num_layers: int = 5,
    invert: bool = False,
    network: Network = "mlp",
    order: Order = "reverse",
    linear: bool = False,
    **options: Unpack[ConditionerOptions],
) -> Flow:
    """Autoregressive layers of any transformer: the density, or sampling, takes one pass.

    Named autoregressive flows are this one with a transformer of their own.

    Masked layers: Papamakarios, Pavlakou and Murray, 2017, arXiv:1705.07057. Inverted: Kingma et
    al., 2016, arXiv:1606.04934.

    Args:
        transformer: the scalar map of every entry.
        invert: whether it is sampling that takes one parallel pass, instead of the density.
        network: "mlp" for `MADE`, "residual" for `ResidualMADE`, whose widths in hidden are equal.
        order: of the entries after each layer: "reverse", or "random".
        linear: also put a learned `LU` map after each layer.

    Example:
        >>> import flowjax_lite as fl
        >>> from flax import nnx
        >>> skewed = fl.transformers.SinhArcsinh()
        >>> flow = fl.flows.autoregressive(skewed, dim=4, hidden=(64,), rngs=nnx.Rngs(0))
    """
    check_transformer(transformer)
    make_network = _NETWORKS[check_choice(network, tuple(_NETWORKS), "network")]

    def make_layer(rngs: nnx.Rngs) -> AbstractBijector:
        conditioner = make_network(
            options["dim"],
            num_params=transformer.num_params,
            **network_options(options),
            rngs=rngs,
        )
        layer = MaskedAutoregressive(transformer, conditioner)
        return Invert(layer) if invert else layer

    small = isinstance(transformer, Additive | Affine)
    return stack(make_layer, num_layers, options, order=order, linear=linear, one_round=small)


@flow_factory
def maf(
    *,
    num_layers: int = 5,
    input_activation: str | Activation = "arcsinh",
    **options: Unpack[NetworkOptions],
) -> Flow:
    """Affine autoregressive layers whose density takes one parallel pass.

    MAF: Papamakarios, Pavlakou and Murray, 2017, arXiv:1705.07057.
    """
    return autoregressive(
        Affine(), num_layers=num_layers, input_activation=input_activation, **options
    )


@flow_factory
def iaf(*, num_layers: int = 5, **options: Unpack[ConditionerOptions]) -> Flow:
    """Affine autoregressive layers whose sampling takes one parallel pass.

    The density of a given point is sequential in the entries. Variational inference, which
    samples and scores its own samples, never needs it.

    IAF: Kingma et al., 2016, arXiv:1606.04934.
    """
    return autoregressive(Affine(), invert=True, num_layers=num_layers, **options)


@flow_factory
def nsf_autoregressive(
    *,
    num_layers: int = 5,
    num_bins: int = 8,
    bound: float = 5.0,
    **options: Unpack[ConditionerOptions],
) -> Flow:
    """Spline autoregressive layers with learned linear maps between them.

    RQ-NSF (AR): Durkan, Bekasov, Murray and Papamakarios, 2019, arXiv:1906.04032.

    Args:
        hidden: width of each residual block, all equal; (128, 128) is two blocks.
        num_bins: number of bins of each spline.
        bound: the splines act on [-bound, bound], in units of the latent.
    """
    return autoregressive(
        RationalQuadraticSpline(num_bins, bound),
        num_layers=num_layers,
        network="residual",
        order="random",
        linear=True,
        **options,
    )


@flow_factory
def naf(
    *,
    num_layers: int = 5,
    transformer: Literal["dsf", "ddsf"] = "dsf",
    num_units: int = 8,
    num_sigmoid_layers: int = 2,
    **options: Unpack[ConditionerOptions],
) -> Flow:
    """Sigmoidal networks in autoregressive layers; sampling is sequential and numerical.

    NAF: Huang, Krueger, Lacoste and Courville, 2018, arXiv:1804.00779.

    Args:
        hidden: widths of each conditioner's hidden layers.
        transformer: "dsf" for mixtures of sigmoids, one on the other (`DeepSigmoid`); "ddsf"
            for fully connected layers of them (`DeepDenseSigmoid`), with more parameters.
        num_units: number of sigmoids in each layer of a transformer.
        num_sigmoid_layers: number of layers in a transformer; with 1 the two are the same.
    """
    kind = _SIGMOIDAL[check_choice(transformer, tuple(_SIGMOIDAL), "transformer")]
    return autoregressive(kind(num_units, num_sigmoid_layers), num_layers=num_layers, **options)


@flow_factory
def unaf(
    *,
    num_layers: int = 5,
    integrand_hidden: tuple[int, ...] = (8, 8),
    bound: float = 10.0,
    num_nodes: int = 64,
    **options: Unpack[ConditionerOptions],
) -> Flow:
    """Monotonic networks in autoregressive layers; sampling is sequential and numerical.

    UMNN-MAF: Wehenkel and Louppe, 2019, arXiv:1908.05164.

    Args:
        hidden: widths of each conditioner's hidden layers.
        integrand_hidden: widths of the hidden layers of each positive network, all of whose
            weights a conditioner emits.
        bound: the networks act on [-bound, bound], in units of the latent.
        num_nodes: number of points at which each integral evaluates its network; the density
            is exact for every number.
    """
    transformer = MonotonicNetwork(tuple(integrand_hidden), bound, num_nodes)
    return autoregressive(transformer, num_layers=num_layers, **options)


@flow_factory
def sos(
    *,
    num_layers: int = 5,
    num_polynomials: int = 3,
    degree: int = 4,
    half_width: float = 3.0,
    **options: Unpack[ConditionerOptions],
) -> Flow:
    """Polynomial autoregressive layers, increasing as the integral of a sum of squares.

    Sampling finds the root of a polynomial for each entry.

    SOS: Jaini, Selby and Yu, 2019, arXiv:1905.02325.

    Args:
        num_polynomials: number of squares that each slope is the sum of.
        degree: degree of each polynomial that is squared.
        half_width: w; the polynomials act on [-w, w], in units of the latent, with straight tails
            outside. Most data should lie within.
    """
    polynomial = SumOfSquares(num_polynomials, degree, half_width)
    return autoregressive(polynomial, num_layers=num_layers, **options)


@flow_factory
def bernstein(
    *,
    num_layers: int = 5,
    degree: int = 16,
    bound: float = 3.0,
    **options: Unpack[ConditionerOptions],
) -> Flow:
    """Autoregressive layers of Bernstein polynomials with increasing coefficients.

    Sampling finds the root of a polynomial for each entry.

    Bernstein-polynomial flows: Ramasinghe, Fernando, Khan and Barnes, 2021, arXiv:2102.03509.

    Args:
        degree: degree of each polynomial.
        bound: the polynomials act on [-bound, bound], in units of the latent, with straight
            tails outside.
    """
    return autoregressive(Bernstein(degree, bound), num_layers=num_layers, **options)


@flow_factory
def bnaf(
    *,
    num_layers: int = 5,
    hidden: tuple[int, ...] = (8, 8),
    activation: str | Activation = "tanh",
    **options: Unpack[FlowOptions],
) -> Flow:
    """Networks that are themselves monotone triangular maps.

    Sampling finds a root for each entry of each layer in turn.

    B-NAF: De Cao, Titov and Aziz, 2019, arXiv:1904.04676.

    Args:
        hidden: number of each dimension's units in the hidden layers: (8, 8) is two layers of
            8 · dim units.
        activation: "relu", "leaky_relu", "elu", "softplus" or "tanh"; see `BlockAutoregressive`.
    """

    def make_layer(rngs: nnx.Rngs) -> BlockAutoregressive:
        return BlockAutoregressive(
            options["dim"],
            hidden=hidden,
            condition_dim=options["condition_dim"],
            activation=activation,
            compute_dtype=options["compute_dtype"],
            rngs=rngs,
        )

    return stack(make_layer, num_layers, options, order="reverse")
