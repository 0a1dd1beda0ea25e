"""Gaussianization flows: each entry made normal by itself, and rotations between."""

from typing import Unpack

from flax import nnx

from flowjax_lite.bijectors import AbstractBijector, Chain, Independent, Rotation
from flowjax_lite.distributions import Flow
from flowjax_lite.flows.options import AmortizedOptions, amortized, amortizer_options, flow_factory
from flowjax_lite.flows.stacking import stack
from flowjax_lite.transformers import NormalMixture


@amortized
@flow_factory
def gaussianization(
    *, num_layers: int = 8, num_components: int = 8, **options: Unpack[AmortizedOptions]
) -> Flow:
    """Layers that make each entry normal by itself, with learned rotations between them.

    No network looks at the event, so parameters are few: a density takes one cheap pass, and so
    do samples, whose every layer solves for its output.

    Gaussianization flows: Meng, Song, Song and Ermon, 2020, arXiv:2003.01941. Their rotations are
    products of Householder reflections, and their locations start at data; here both start such
    that the flow is the identity.

    Args:
        num_components: number of components of each mixture, at least 2.
    """
    dim, mixture = options["dim"], NormalMixture(num_components)
    settings = amortizer_options(options)

    def make_layer(rngs: nnx.Rngs) -> AbstractBijector:
        return Chain([Independent(mixture, dim, **settings, rngs=rngs), Rotation(dim)])

    return stack(make_layer, num_layers, options, order="reverse")
