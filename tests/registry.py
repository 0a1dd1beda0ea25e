"""Everything public that can be built, each with the values it is tried on."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import distrax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite import bijectors as b
from flowjax_lite import distributions as d
from flowjax_lite.conditioners import MADE, MLP, ResidualMADE, ResidualMLP
from flowjax_lite.flows import NAMED
from flowjax_lite.transformers import (
    AbstractTransformer,
    Additive,
    Affine,
    RationalQuadraticSpline,
)

# Equal sizes everywhere: the operations of one item, once compiled, serve the next.
DIM, CONDITION_DIM, HIDDEN = 3, 2, (8,)
# A network without kinks has derivatives that finite differences can follow.
SMOOTH = "tanh"


class Domain(NamedTuple):
    """Where one side of a map lives.

    Attributes:
        low: lower end of the interval that ordinary values are drawn from.
        high: upper end.
        extremes: finite values at which nothing may turn to NaN.
    """

    low: float
    high: float
    extremes: tuple[float, ...]


REAL = Domain(-2.5, 2.5, (-1e30, 1e30))
POSITIVE = Domain(0.2, 3.0, (1e-30, 1e30))
LOGARITHMIC = Domain(-2.5, 2.5, (-80.0, 80.0))  # its exponential is representable
UNIT = Domain(0.05, 0.95, (1e-30, 1 - 1e-7))
SYMMETRIC = Domain(-0.9, 0.9, (-1 + 1e-7, 1 - 1e-7))


@dataclass(frozen=True)
class Item:
    """How to build one thing, and what may be asked of it.

    Attributes:
        make: builds it.
        latent: the domain of x = f⁻¹(y).
        data: the domain of y = f(x).
        tolerance: multiplies the tolerances of each dtype, where f is badly conditioned.
        dtypes: the precisions that it is tried in.
        second_order: whether to check second derivatives too, in float64.
    """

    make: Callable[[nnx.Rngs], nnx.Module]
    latent: Domain = REAL
    data: Domain = REAL
    tolerance: float = 1.0
    dtypes: tuple[str, ...] = ("float64", "float32")
    second_order: bool = True


class WithParams(b.AbstractBijector):
    """A transformer with parameters of its own, so that it can pass as a bijector."""

    def __init__(self, transformer: AbstractTransformer, dim: int) -> None:
        self.event_shape, self.condition_shape = (dim,), None
        self.transformer = transformer
        self.params = nnx.Param(jnp.zeros((transformer.num_params, dim)))

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        y, log_det = self.transformer.forward_and_log_det(self.params[...], x)
        return y, jnp.sum(log_det)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        x, log_det = self.transformer.inverse_and_log_det(self.params[...], y)
        return x, jnp.sum(log_det)


# Two bins have one inner knot; the interval ends inside the domain, so tails are met too.
SPLINE = RationalQuadraticSpline(num_bins=2, bound=2.0)
_TRANSFORMERS: dict[str, AbstractTransformer] = {
    "Additive": Additive(),
    "Affine": Affine(),
    "RationalQuadraticSpline": SPLINE,
}


def mlp(
    rngs: nnx.Rngs,
    transformer: AbstractTransformer = _TRANSFORMERS["Affine"],
    network: type[MLP] | type[ResidualMLP] = MLP,
    condition_dim: int | None = None,
    compute_dtype: str = "float32",
) -> MLP | ResidualMLP:
    """The network of a coupling layer that keeps the first entry."""
    return network(
        1,
        out_shape=(transformer.num_params, DIM - 1),
        hidden=HIDDEN,
        condition_dim=condition_dim,
        activation=SMOOTH,
        compute_dtype=compute_dtype,
        rngs=rngs,
    )


def made(
    rngs: nnx.Rngs,
    transformer: AbstractTransformer = _TRANSFORMERS["Affine"],
    network: type[MADE] | type[ResidualMADE] = MADE,
    condition_dim: int | None = None,
    compute_dtype: str = "float32",
) -> MADE | ResidualMADE:
    """The network of an autoregressive layer."""
    return network(
        DIM,
        num_params=transformer.num_params,
        hidden=HIDDEN,
        condition_dim=condition_dim,
        activation=SMOOTH,
        compute_dtype=compute_dtype,
        rngs=rngs,
    )


def coupling(
    rngs: nnx.Rngs,
    transformer: AbstractTransformer,
    network: type[MLP] | type[ResidualMLP],
    condition_dim: int | None = None,
) -> b.Coupling:
    """A coupling layer that keeps the first entry."""
    return b.Coupling(transformer, mlp(rngs, transformer, network, condition_dim))


def autoregressive(
    rngs: nnx.Rngs,
    transformer: AbstractTransformer = _TRANSFORMERS["Affine"],
    network: type[MADE] | type[ResidualMADE] = MADE,
    condition_dim: int | None = None,
    method: str = "cached",
) -> b.MaskedAutoregressive:
    """An autoregressive layer; that of MAF by default."""
    conditioner = made(rngs, transformer, network, condition_dim)
    return b.MaskedAutoregressive(transformer, conditioner, method=method)


def standardize() -> b.Standardize:
    """A fixed map with another location and scale for each entry."""
    return b.Standardize.from_data([[0.0, 1.0, -3.0], [2.0, 1.5, 3.0]])


TRANSFORMERS = {
    name: Item(lambda rngs, transformer=transformer: WithParams(transformer, DIM))
    for name, transformer in _TRANSFORMERS.items()
}

CONDITIONERS = {
    "MLP": Item(partial(mlp, network=MLP)),
    "MLP|condition": Item(partial(mlp, network=MLP, condition_dim=CONDITION_DIM)),
    "ResidualMLP": Item(partial(mlp, network=ResidualMLP)),
    "ResidualMLP|condition": Item(partial(mlp, network=ResidualMLP, condition_dim=CONDITION_DIM)),
    "MADE": Item(partial(made, network=MADE)),
    "MADE|condition": Item(partial(made, network=MADE, condition_dim=CONDITION_DIM)),
    "ResidualMADE": Item(partial(made, network=ResidualMADE)),
    "ResidualMADE|condition": Item(
        partial(made, network=ResidualMADE, condition_dim=CONDITION_DIM)
    ),
}

_conditional = partial(coupling, transformer=Affine(), network=MLP, condition_dim=CONDITION_DIM)
BIJECTORS = {
    "Affine": Item(lambda rngs: b.Affine(DIM)),
    "Shift": Item(lambda rngs: b.Shift(DIM)),
    "Scale": Item(lambda rngs: b.Scale(DIM)),
    "Standardize": Item(lambda rngs: standardize()),
    "Exp": Item(lambda rngs: b.Exp(DIM), latent=LOGARITHMIC, data=POSITIVE),
    "Softplus": Item(lambda rngs: b.Softplus(DIM), data=POSITIVE),
    "Sigmoid": Item(lambda rngs: b.Sigmoid(DIM), data=UNIT),
    "Logit": Item(lambda rngs: b.Logit(DIM), latent=UNIT),
    "Tanh": Item(lambda rngs: b.Tanh(DIM), data=SYMMETRIC),
    "LU": Item(lambda rngs: b.LU(DIM)),
    "Permutation": Item(lambda rngs: b.Permutation([2, 0, 1])),
    "Permutation.random": Item(lambda rngs: b.Permutation.random(DIM, rngs=rngs)),
    "Reverse": Item(lambda rngs: b.Reverse(DIM)),
    "Chain": Item(
        lambda rngs: b.Chain([b.LU(DIM), b.Permutation([2, 0, 1]), b.Affine(DIM), b.Sigmoid(DIM)]),
        data=UNIT,
    ),
    "Chain|condition": Item(
        lambda rngs: b.Chain([_conditional(rngs), b.Permutation([2, 0, 1]), b.LU(DIM)])
    ),
    "Invert": Item(lambda rngs: b.Invert(b.Exp(DIM)), latent=POSITIVE, data=LOGARITHMIC),
    "Invert|condition": Item(
        lambda rngs: b.Invert(autoregressive(rngs, condition_dim=CONDITION_DIM))
    ),
    "Repeat": Item(
        lambda rngs: b.Repeat(
            lambda rngs: b.Chain([b.Affine(DIM), b.LU(DIM), b.Permutation.random(DIM, rngs=rngs)]),
            3,
            rngs=rngs,
        )
    ),
    "Repeat|condition": Item(
        lambda rngs: b.Repeat(
            lambda rngs: b.Chain([_conditional(rngs), b.Reverse(DIM)]), 2, rngs=rngs
        )
    ),
}
for _method in ("jacobi", "sequential"):
    BIJECTORS[f"MaskedAutoregressive, {_method}|condition"] = Item(
        partial(autoregressive, condition_dim=CONDITION_DIM, method=_method)
    )
for _gradient in ("recompute", "invert"):
    BIJECTORS[f"Repeat, {_gradient}|condition"] = Item(
        lambda rngs, gradient=_gradient: b.Repeat(
            lambda rngs: b.Chain([_conditional(rngs), b.Permutation.random(DIM, rngs=rngs)]),
            2,
            gradient=gradient,
            rngs=rngs,
        )
    )
# Each transformer in each layer, each network, with and without a condition.
for _name, _transformer in _TRANSFORMERS.items():
    BIJECTORS |= {
        f"Coupling({_name}, MLP)": Item(partial(coupling, transformer=_transformer, network=MLP)),
        f"Coupling({_name}, ResidualMLP)|condition": Item(
            partial(
                coupling,
                transformer=_transformer,
                network=ResidualMLP,
                condition_dim=CONDITION_DIM,
            )
        ),
        f"MaskedAutoregressive({_name}, MADE)|condition": Item(
            partial(
                autoregressive,
                transformer=_transformer,
                network=MADE,
                condition_dim=CONDITION_DIM,
            )
        ),
        f"MaskedAutoregressive({_name}, ResidualMADE)": Item(
            partial(autoregressive, transformer=_transformer, network=ResidualMADE)
        ),
    }

BASES = {
    "StandardNormal": Item(lambda rngs: d.StandardNormal(DIM)),
    "DiagonalNormal": Item(lambda rngs: d.DiagonalNormal(DIM)),
    "Uniform": Item(lambda rngs: d.Uniform(DIM), data=UNIT),
    "Beta": Item(lambda rngs: d.Beta(DIM, alpha=2.0, beta=5.0), data=UNIT),
    "StudentT": Item(lambda rngs: d.StudentT(DIM)),
    "GaussianMixture": Item(lambda rngs: d.GaussianMixture(DIM, num_components=2, rngs=rngs)),
    "ConditionalNormal": Item(
        lambda rngs: d.ConditionalNormal(DIM, condition_dim=CONDITION_DIM, hidden=(8,), rngs=rngs)
    ),
    "FromDistrax": Item(
        lambda rngs: d.FromDistrax(
            distrax.Independent(distrax.Normal(jnp.zeros(DIM), jnp.ones(DIM)), 1)
        )
    ),
}


def flow(rngs: nnx.Rngs, name: str, dim: int, condition_dim: int | None = None) -> d.Flow:
    """A small flow of that architecture."""
    bins = {"num_bins": 2, "bound": 2.0} if name.startswith("nsf") else {}
    return NAMED[name](
        dim=dim,
        condition_dim=condition_dim,
        num_layers=2,
        hidden=HIDDEN,
        activation=SMOOTH,
        rngs=rngs,
        **bins,
    )


FLOWS: dict[str, Item] = {}
for _name in NAMED:
    FLOWS |= {
        f"{_name}(4)|condition": Item(partial(flow, name=_name, dim=4, condition_dim=2)),
        f"{_name}(3)": Item(
            partial(flow, name=_name, dim=3), dtypes=("float32",), second_order=False
        ),
        f"{_name}(1)": Item(
            partial(flow, name=_name, dim=1), dtypes=("float64",), second_order=False
        ),
    }

ALL: dict[str, Item] = {**TRANSFORMERS, **CONDITIONERS, **BIJECTORS, **BASES, **FLOWS}
