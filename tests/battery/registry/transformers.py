"""Transformers, each as a bijector with parameters of its own."""

from battery.registry.item import CIRCLE, DIM, REAL, UNIT, Domain, Item

from flowjax_lite.bijectors import Independent
from flowjax_lite.transformers import (
    AbstractTransformer,
    Additive,
    Affine,
    Bernstein,
    CircularSpline,
    CubicSpline,
    DeepDenseSigmoid,
    DeepSigmoid,
    LinearSpline,
    LogisticMixture,
    MonotonicNetwork,
    NormalMixture,
    Power,
    QuadraticSpline,
    RationalQuadraticSpline,
    SinhArcsinh,
    SumOfSquares,
    UnitSpline,
)

# Two bins have one inner knot; the interval ends inside the domain, so tails are met too.
SPLINE = RationalQuadraticSpline(num_bins=2, bound=2.0)
# Tried in both kinds of layers, with both kinds of networks.
CORE: dict[str, AbstractTransformer] = {
    "Additive": Additive(),
    "Affine": Affine(),
    "RationalQuadraticSpline": SPLINE,
}
# Real numbers to real numbers; tried in one kind of layer.
MONOTONE: dict[str, AbstractTransformer] = {
    "SumOfSquares": SumOfSquares(num_polynomials=2, degree=2, half_width=2.0),
    "Bernstein": Bernstein(degree=3, bound=2.0),
    "SinhArcsinh": SinhArcsinh(),
    "Power": Power(),
    "DeepSigmoid": DeepSigmoid(num_units=2),
    "DeepDenseSigmoid": DeepDenseSigmoid(num_units=2, num_layers=2),
    # The interval ends inside the domain, so tails are met too.
    "MonotonicNetwork": MonotonicNetwork(hidden=(2, 2), bound=2.0, num_nodes=16),
    "LinearSpline": LinearSpline(num_bins=3, bound=2.0),
    "QuadraticSpline": QuadraticSpline(num_bins=3, bound=2.0),
    "CubicSpline": CubicSpline(num_bins=3, bound=2.0),
    "LogisticMixture": LogisticMixture(num_components=2),
    "NormalMixture": NormalMixture(num_components=2),
}
# From a domain of their own to itself; tried in one kind of layer.
ELSEWHERE: dict[str, tuple[AbstractTransformer, Domain]] = {
    "CircularSpline": (CircularSpline(num_bins=2), CIRCLE),
    "UnitSpline": (UnitSpline(num_bins=2), UNIT),
}


# In single precision these are tried in a layer, or in a flow.
_DOUBLE = ("SumOfSquares", "Bernstein", "DeepSigmoid", "DeepDenseSigmoid", "MonotonicNetwork")
_DOUBLE += ("LogisticMixture", "NormalMixture")


def _item(name: str, transformer: AbstractTransformer, domain: Domain = REAL) -> Item:
    return Item(
        lambda rngs: Independent(transformer, DIM),
        latent=domain,
        data=domain,
        dtypes=("float64",) if name in _DOUBLE else ("float64", "float32"),
        eager=transformer in CORE.values(),  # each operation of a long formula would be compiled
    )


TRANSFORMERS = {name: _item(name, transformer) for name, transformer in (CORE | MONOTONE).items()}
TRANSFORMERS |= {name: _item(name, *pair) for name, pair in ELSEWHERE.items()}
