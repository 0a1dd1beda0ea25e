"""Bijectors, and every transformer in every kind of layer."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import distrax
import jax.numpy as jnp
from battery.registry.conditioners import SQUARED, attention, lipschitz, made, mlp
from battery.registry.item import (
    CONDITION_DIM,
    DIM,
    HIDDEN,
    LOGARITHMIC,
    POSITIVE,
    REAL,
    SMOOTH,
    SYMMETRIC,
    UNIT,
    Item,
)
from battery.registry.transformers import CORE, ELSEWHERE, MONOTONE
from flax import nnx
from jax import Array

from flowjax_lite import bijectors as b
from flowjax_lite.conditioners import MADE, MLP, ConvNet, Guided, ResidualMADE, ResidualMLP
from flowjax_lite.interop import FromDistraxBijector
from flowjax_lite.transformers import AbstractTransformer, Affine


def coupling(
    rngs: nnx.Rngs,
    transformer: AbstractTransformer,
    network: type[MLP] | type[ResidualMLP],
    condition_dim: int | None = None,
) -> b.Coupling:
    """A coupling layer that keeps the first entry."""
    return b.Coupling(transformer, mlp(rngs, transformer, network, condition_dim))


def image_coupling(rngs: nnx.Rngs) -> b.Coupling:
    """A coupling of images that keeps the first half of the channels."""
    network = ConvNet(
        (1, 2, 2),
        out_channels=2,
        num_params=2,
        channels=2,
        num_blocks=1,
        condition_dim=CONDITION_DIM,
        activation=SMOOTH,
        rngs=rngs,
    )
    return b.Coupling(Affine(), network)


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


def _low_rank(
    rngs: nnx.Rngs, kind: Callable[..., b.AbstractBijector], **settings: Any
) -> b.AbstractBijector:
    return kind(DIM, **settings, rngs=rngs)


class Flat(b.AbstractBijector):
    """A bijector of arrays as one of vectors, which the battery measures."""

    def __init__(self, bijector: b.AbstractBijector) -> None:
        self.bijector = bijector
        self.event_shape = (math.prod(bijector.event_shape),)
        self.condition_shape = bijector.condition_shape

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        x = x.reshape(self.bijector.event_shape)
        y, log_det = self.bijector.forward_and_log_det(x, condition, key)
        return y.ravel(), log_det

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        y = y.reshape(self.bijector.event_shape)
        x, log_det = self.bijector.inverse_and_log_det(y, condition, key)
        return x.ravel(), log_det


def after_a_batch(layer: b.ActNorm | b.BatchNorm) -> b.ActNorm | b.BatchNorm:
    """A normalising layer with another location and scale for each entry."""
    batch = jnp.array([[0.0, 1.0, -3.0], [2.0, 1.5, 3.0]])
    return layer.initialized(batch, jnp.ones(2), forward=False)


_conditional = partial(coupling, transformer=Affine(), network=MLP, condition_dim=CONDITION_DIM)
BIJECTORS = {
    "Identity": Item(lambda rngs: b.Identity(DIM)),
    "Affine": Item(lambda rngs: b.Affine(DIM)),
    "FromDistraxBijector": Item(
        lambda rngs: FromDistraxBijector(
            distrax.ScalarAffine(jnp.arange(DIM) - 1.0, jnp.array([0.5, 2.0, 3.0])), dim=DIM
        ),
        recorded=False,  # another library's object
    ),
    "Shift": Item(lambda rngs: b.Shift(DIM)),
    "Scale": Item(lambda rngs: b.Scale(DIM)),
    "Standardize": Item(lambda rngs: standardize()),
    "Exp": Item(lambda rngs: b.Exp(DIM), latent=LOGARITHMIC, data=POSITIVE),
    "Softplus": Item(lambda rngs: b.Softplus(DIM), data=POSITIVE),
    "Sigmoid": Item(lambda rngs: b.Sigmoid(DIM), data=UNIT),
    "Logit": Item(lambda rngs: b.Logit(DIM), latent=UNIT),
    "Tanh": Item(lambda rngs: b.Tanh(DIM), data=SYMMETRIC),
    "NormalCDF": Item(lambda rngs: b.NormalCDF(DIM), latent=LOGARITHMIC, data=UNIT),
    "BetaCDF": Item(lambda rngs: b.BetaCDF(DIM, alpha=2.0, beta=5.0), latent=UNIT, data=UNIT),
    "GaussianMixtureCDF": Item(
        lambda rngs: b.GaussianMixtureCDF(DIM, num_components=2, rngs=rngs),
        latent=LOGARITHMIC,
        data=UNIT,
    ),
    "Domains": Item(
        lambda rngs: b.Domains(["positive", "interval(-1, 2)", "circular"]),
        latent=LOGARITHMIC,
        data=UNIT._replace(outside=POSITIVE.outside),  # of the first column
    ),
    "Domains, whole numbers": Item(
        lambda rngs: b.Domains(["integer(0, inf)", "integer(-2, 7)", "integer"]),
        latent=LOGARITHMIC,
        data=UNIT._replace(outside=POSITIVE.outside),
    ),
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
    "ActNorm": Item(lambda rngs: b.ActNorm(DIM)),
    "ActNorm, initialised": Item(lambda rngs: after_a_batch(b.ActNorm(DIM))),
    "BatchNorm": Item(lambda rngs: b.BatchNorm(DIM)),
    "BatchNorm, initialised": Item(lambda rngs: after_a_batch(b.BatchNorm(DIM))),
    "InvertibleResidual": Item(lambda rngs: b.InvertibleResidual(lipschitz(rngs))),
    "InvertibleResidual|condition": Item(
        lambda rngs: b.InvertibleResidual(lipschitz(rngs, CONDITION_DIM)),
        dtypes=("float64",),
        second_order=False,
    ),
    "BlockAutoregressive": Item(
        lambda rngs: b.BlockAutoregressive(DIM, hidden=(2, 2), rngs=rngs),
        dtypes=("float32",),
        eager=False,
    ),
    "BlockAutoregressive|condition": Item(
        lambda rngs: b.BlockAutoregressive(
            DIM, hidden=(2, 2), condition_dim=CONDITION_DIM, rngs=rngs
        ),
        eager=False,
    ),
    "LU": Item(lambda rngs: b.LU(DIM)),
    "PLU": Item(lambda rngs: b.PLU(DIM, rngs=rngs)),
    "Triangular": Item(lambda rngs: b.Triangular(DIM)),
    "Linear": Item(lambda rngs: b.Linear(DIM)),
    "Linear.from_arrays": Item(
        lambda rngs: b.Linear.from_arrays([[0.0, 2.0, 0.5], [-1.0, 0.3, 0.0], [0.2, 0.0, 1.0]])
    ),
    "Whiten": Item(
        lambda rngs: b.Whiten([1.0, -2.0, 0.5], [[2.0, 0, 0], [0.3, 0.5, 0], [-1.0, 0.2, 1.5]])
    ),
    "QR": Item(lambda rngs: b.QR(DIM, num_reflections=4)),
    "Rotation": Item(lambda rngs: b.Rotation(DIM)),
    "RandomRotation": Item(lambda rngs: b.RandomRotation(DIM, rngs=rngs)),
    "Channelwise": Item(lambda rngs: Flat(b.Channelwise(b.PLU(DIM, rngs=rngs), (1, 2)))),
    "Channelwise|condition": Item(lambda rngs: Flat(b.Channelwise(_conditional(rngs), [2]))),
    "Squeezed|condition": Item(
        lambda rngs: Flat(b.Squeezed(image_coupling(rngs), order=b.CHECKERBOARD)),
        second_order=False,
    ),
    "Patched": Item(
        lambda rngs: Flat(b.Patched(b.Affine((2, 4)), (2, 4, 1), size=2)), second_order=False
    ),
    "Reverse, tokens": Item(lambda rngs: Flat(b.Reverse((3, 2))), second_order=False),
    "FirstChannels|condition": Item(lambda rngs: b.FirstChannels(_conditional(rngs), DIM + 1)),
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
# Residual layers of low rank, with parameters that are learned or made from a condition.
for _name, _kind, _settings in (
    ("Planar", b.Planar, {}),
    ("Planar, leaky_relu", b.Planar, {"nonlinearity": "leaky_relu"}),
    ("Radial", b.Radial, {}),
    ("Householder, even", b.Householder, {"num_reflections": 2}),
    ("Householder, odd", b.Householder, {"num_reflections": 3}),
    ("Sylvester, orthogonal", b.Sylvester, {"rank": 2}),
    ("Sylvester, householder", b.Sylvester, {"form": "householder", "num_reflections": 2}),
    ("Sylvester, triangular", b.Sylvester, {"form": "triangular"}),
):
    _make = partial(_low_rank, kind=_kind, **_settings)
    BIJECTORS |= {
        _name: Item(_make, dtypes=("float32",), second_order=False),
        f"{_name}|condition": Item(
            partial(_make, condition_dim=CONDITION_DIM, hidden=HIDDEN, activation=SMOOTH)
        ),
    }
for _method in ("jacobi", "sequential"):
    BIJECTORS[f"MaskedAutoregressive, {_method}|condition"] = Item(
        partial(autoregressive, condition_dim=CONDITION_DIM, method=_method)
    )
for _method in ("cached", "blocks", "jacobi", "sequential"):
    BIJECTORS[f"MaskedAutoregressive, tokens, {_method}|condition"] = Item(
        lambda rngs, method=_method: Flat(
            b.MaskedAutoregressive(Affine(), attention(rngs), method=method)
        ),
        latent=SQUARED,
        data=SQUARED,
        dtypes=("float64", "float32") if _method == "cached" else ("float64",),
        second_order=False,
    )
for _method in ("cached", "blocks"):
    BIJECTORS[f"MaskedAutoregressive, tokens, guided, {_method}|condition"] = Item(
        lambda rngs, method=_method: Flat(
            b.MaskedAutoregressive(Affine(), Guided(attention(rngs), 1.5), method=method)
        ),
        latent=SQUARED,
        data=SQUARED,
        dtypes=("float64",),
        second_order=False,
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
    _twice = _name != "RationalQuadraticSpline"  # its second derivatives are tried by themselves
    BIJECTORS |= {
        f"Coupling({_name}, MLP)": Item(
            partial(coupling, transformer=_transformer, network=MLP),
            dtypes=("float32",),
            eager=False,
        ),
        f"Coupling({_name}, ResidualMLP)|condition": Item(
            partial(
                coupling,
                transformer=_transformer,
                network=ResidualMLP,
                condition_dim=CONDITION_DIM,
            ),
            second_order=_twice,
        ),
        f"MaskedAutoregressive({_name}, MADE)|condition": Item(
            partial(
                autoregressive,
                transformer=_transformer,
                network=MADE,
                condition_dim=CONDITION_DIM,
            ),
            second_order=_twice,
        ),
        f"MaskedAutoregressive({_name}, ResidualMADE)": Item(
            partial(autoregressive, transformer=_transformer, network=ResidualMADE),
            dtypes=("float32",),
            eager=False,
        ),
    }
# The others in one kind of layer, the one that no named flow has them in.
_ONCE = {name: (transformer, REAL) for name, transformer in MONOTONE.items()} | ELSEWHERE
_COUPLED = ("SumOfSquares", "Bernstein", "DeepSigmoid", "DeepDenseSigmoid", "MonotonicNetwork")
for _name, (_transformer, _domain) in _ONCE.items():
    _options = {"latent": _domain, "data": _domain}
    if _name in _COUPLED:
        BIJECTORS[f"Coupling({_name}, MLP)|condition"] = Item(
            partial(coupling, transformer=_transformer, network=MLP, condition_dim=CONDITION_DIM),
            dtypes=("float32",),
            eager=False,
            **_options,
        )
    else:
        BIJECTORS[f"MaskedAutoregressive({_name}, MADE)|condition"] = Item(
            partial(
                autoregressive,
                transformer=_transformer,
                network=MADE,
                condition_dim=CONDITION_DIM,
            ),
            dtypes=("float64",),
            second_order=False,
            **_options,
        )
