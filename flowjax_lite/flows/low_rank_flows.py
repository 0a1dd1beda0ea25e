"""Low-rank flows: layers that bend space along few directions, with parameters of their own.

Parameters are learned, or made from the condition by a network, as in amortised variational
inference.
"""

from typing import Unpack

from flax import nnx

from flowjax_lite.bijectors import Planar, Radial, Sylvester
from flowjax_lite.bijectors.planar import PlanarNonlinearity
from flowjax_lite.bijectors.sylvester import SylvesterForm
from flowjax_lite.distributions import Flow
from flowjax_lite.flows.options import (
    AmortizedOptions,
    amortized,
    amortizer_options,
    flow_factory,
    without_effect,
)
from flowjax_lite.flows.stacking import stack


@amortized
@flow_factory
def planar(
    *,
    num_layers: int = 16,
    nonlinearity: PlanarNonlinearity = "tanh",
    **options: Unpack[AmortizedOptions],
) -> Flow:
    """Planar layers: sampling, with the density of the samples, takes a closed form.

    The density of given points takes the root of a scalar function in each layer, or a closed
    form too with `nonlinearity="leaky_relu"`. A flow takes many layers, of few parameters each.

    Rezende and Mohamed, 2015, arXiv:1505.05770.

    Args:
        nonlinearity: "tanh", or "leaky_relu", which is harder to train; see `Planar`.
    """
    settings = amortizer_options(options) | {"nonlinearity": nonlinearity}

    def make_layer(rngs: nnx.Rngs) -> Planar:
        return Planar(options["dim"], **settings, rngs=rngs)

    return stack(make_layer, num_layers, options, order="reverse")


@amortized
@flow_factory
def radial(*, num_layers: int = 16, **options: Unpack[AmortizedOptions]) -> Flow:
    """Radial layers, around one point each: both density and sampling take closed forms.

    A flow takes many layers, of few parameters each.

    Rezende and Mohamed, 2015, arXiv:1505.05770.
    """
    settings = amortizer_options(options)

    def make_layer(rngs: nnx.Rngs) -> Radial:
        return Radial(options["dim"], **settings, rngs=rngs)

    return stack(make_layer, num_layers, options, order="reverse")


@amortized
@without_effect(
    "num_reflections",
    when=lambda options: options["form"] != "householder",
    reason='unless form is "householder"',
)
@flow_factory
def sylvester(
    *,
    num_layers: int = 8,
    form: SylvesterForm = "orthogonal",
    rank: int | None = None,
    num_reflections: int = 8,
    **options: Unpack[AmortizedOptions],
) -> Flow:
    """Sylvester layers: sampling, with the density of the samples, takes a closed form.

    The density of given points takes the roots of as many scalar functions as a layer has rank,
    one after the other.

    Van den Berg, Hasenclever, Tomczak and Welling, 2018, arXiv:1803.05649.

    Args:
        form: "orthogonal", "householder" or "triangular"; see `Sylvester`.
        rank: directions that an orthogonal layer bends space along; None for dim.
        num_reflections: number of reflections of the Householder form; only with that form.
    """
    settings = amortizer_options(options)
    settings |= {"form": form, "rank": rank, "num_reflections": num_reflections}

    def make_layer(rngs: nnx.Rngs) -> Sylvester:
        return Sylvester(options["dim"], **settings, rngs=rngs)

    return stack(make_layer, num_layers, options, order="reverse")
