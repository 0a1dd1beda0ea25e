"""Named architectures, after their papers, one file for each construction."""

from collections.abc import Callable

from flowjax_lite.distributions import Flow
from flowjax_lite.flows.attention_flows import jet, tarflow
from flowjax_lite.flows.autoregressive_flows import (
    autoregressive,
    bernstein,
    bnaf,
    iaf,
    maf,
    naf,
    nsf_autoregressive,
    sos,
    unaf,
)
from flowjax_lite.flows.continuous_flows import cnf, ffjord, rnode
from flowjax_lite.flows.coupling_flows import (
    circular_nsf,
    coupling,
    flowpp,
    glow_1d,
    nice,
    nsf_coupling,
    realnvp,
)
from flowjax_lite.flows.gaussianization_flows import gaussianization
from flowjax_lite.flows.guidance import guided
from flowjax_lite.flows.image_flows import dequantizer, flowpp_image, glow, realnvp_image
from flowjax_lite.flows.low_rank_flows import planar, radial, sylvester
from flowjax_lite.flows.options import DIVERGENCES
from flowjax_lite.flows.residual_flows import residual

# Those that a name alone describes; `coupling` and `autoregressive` need a transformer, too.
NAMED: dict[str, Callable[..., Flow]] = {
    "nice": nice,
    "realnvp": realnvp,
    "glow_1d": glow_1d,
    "flowpp": flowpp,
    "maf": maf,
    "iaf": iaf,
    "nsf_coupling": nsf_coupling,
    "nsf_autoregressive": nsf_autoregressive,
    "sos": sos,
    "bernstein": bernstein,
    "planar": planar,
    "radial": radial,
    "sylvester": sylvester,
    "naf": naf,
    "unaf": unaf,
    "residual": residual,
    "bnaf": bnaf,
    "circular_nsf": circular_nsf,
    "gaussianization": gaussianization,
    "ffjord": ffjord,
    "rnode": rnode,
    "cnf": cnf,
}

# Those whose events are images, (height, width, channels).
IMAGES: dict[str, Callable[..., Flow]] = {
    "realnvp_image": realnvp_image,
    "glow": glow,
    "flowpp_image": flowpp_image,
    "tarflow": tarflow,
    "jet": jet,
}

__all__ = [
    "DIVERGENCES",
    "IMAGES",
    "NAMED",
    "autoregressive",
    "bernstein",
    "bnaf",
    "circular_nsf",
    "cnf",
    "coupling",
    "dequantizer",
    "ffjord",
    "flowpp",
    "flowpp_image",
    "gaussianization",
    "glow",
    "glow_1d",
    "guided",
    "iaf",
    "jet",
    "maf",
    "naf",
    "nice",
    "nsf_autoregressive",
    "nsf_coupling",
    "planar",
    "radial",
    "realnvp",
    "realnvp_image",
    "residual",
    "rnode",
    "sos",
    "sylvester",
    "tarflow",
    "unaf",
]
