"""Distributions that are no flows: bases, and mixtures of flows."""

import distrax
import jax.numpy as jnp
from battery.registry.item import CONDITION_DIM, DIM, HIDDEN, SMOOTH, UNIT, Item
from flax import nnx

from flowjax_lite import distributions as d
from flowjax_lite.conditioners import MLP
from flowjax_lite.flows import nice
from flowjax_lite.interop import FromDistrax

SMALL = {"dim": DIM, "num_layers": 2, "hidden": HIDDEN}


def _network(rngs: nnx.Rngs) -> MLP:
    shape = (CONDITION_DIM,)
    return MLP(CONDITION_DIM, out_shape=shape, hidden=HIDDEN, activation=SMOOTH, rngs=rngs)


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
    "Product": Item(lambda rngs: d.Product([d.StandardNormal(1), d.DiagonalNormal(DIM - 1)])),
    "Product|condition": Item(
        lambda rngs: d.Product(
            [
                d.Uniform(1),
                d.ConditionalNormal(DIM - 1, condition_dim=CONDITION_DIM, hidden=HIDDEN, rngs=rngs),
            ]
        ),
        data=UNIT,
    ),
    "FlowMixture|condition": Item(
        lambda rngs: d.FlowMixture(
            [nice(**SMALL, condition_dim=CONDITION_DIM, rngs=rngs) for _ in range(2)]
        )
    ),
    "Embedded|condition": Item(
        lambda rngs: d.Embedded(
            nice(**SMALL, condition_dim=CONDITION_DIM, rngs=rngs),
            MLP(
                CONDITION_DIM, out_shape=(CONDITION_DIM,), hidden=(4,), activation=SMOOTH, rngs=rngs
            ),
            condition_shape=CONDITION_DIM,
        )
    ),
    "FromDistrax": Item(
        lambda rngs: FromDistrax(
            distrax.Independent(distrax.Normal(jnp.zeros(DIM), jnp.ones(DIM)), 1)
        ),
        recorded=False,  # another library's object
    ),
}
