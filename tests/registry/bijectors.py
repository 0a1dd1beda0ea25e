"""Bijectors, and every transformer in every kind of layer."""

from functools import partial

from flax import nnx

from flowjax_lite import bijectors as b
from flowjax_lite.conditioners import MADE, MLP, ResidualMADE, ResidualMLP
from flowjax_lite.transformers import AbstractTransformer, Affine
from registry.conditioners import made, mlp
from registry.item import (
    CONDITION_DIM,
    DIM,
    HIDDEN,
    LOGARITHMIC,
    POSITIVE,
    SMOOTH,
    SYMMETRIC,
    UNIT,
    Item,
)
from registry.transformers import CORE, MONOTONE


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
    transformer: AbstractTransformer = CORE["Affine"],
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
    "Independent|condition": Item(
        lambda rngs: b.Independent(
            Affine(),
            DIM,
            condition_dim=CONDITION_DIM,
            hidden=HIDDEN,
            activation=SMOOTH,
            rngs=rngs,
        )
    ),
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
for _name, _transformer in CORE.items():
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
for _name, _transformer in MONOTONE.items():
    BIJECTORS |= {
        f"Coupling({_name}, MLP)|condition": Item(
            partial(coupling, transformer=_transformer, network=MLP, condition_dim=CONDITION_DIM),
            dtypes=("float32",),
        ),
        f"MaskedAutoregressive({_name}, MADE)|condition": Item(
            partial(
                autoregressive,
                transformer=_transformer,
                network=MADE,
                condition_dim=CONDITION_DIM,
            ),
            dtypes=("float64",),
            second_order=False,
        ),
    }
