"""Named architectures, after their papers."""

from collections.abc import Callable

from flowjax_lite.distributions import Flow
from flowjax_lite.flows.bernstein import bernstein
from flowjax_lite.flows.bnaf import bnaf
from flowjax_lite.flows.circular_nsf import circular_nsf
from flowjax_lite.flows.cnf import cnf
from flowjax_lite.flows.ffjord import ffjord
from flowjax_lite.flows.flowpp import flowpp
from flowjax_lite.flows.gaussianization import gaussianization
from flowjax_lite.flows.glow_1d import glow_1d
from flowjax_lite.flows.maf import iaf, maf
from flowjax_lite.flows.naf import naf
from flowjax_lite.flows.nice import nice
from flowjax_lite.flows.nsf import nsf_autoregressive, nsf_coupling
from flowjax_lite.flows.ode import DIVERGENCES
from flowjax_lite.flows.planar import planar
from flowjax_lite.flows.radial import radial
from flowjax_lite.flows.realnvp import realnvp
from flowjax_lite.flows.residual import residual
from flowjax_lite.flows.rnode import rnode
from flowjax_lite.flows.sos import sos
from flowjax_lite.flows.sylvester import sylvester
from flowjax_lite.flows.unaf import unaf

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

__all__ = [
    "DIVERGENCES",
    "NAMED",
    "bernstein",
    "bnaf",
    "circular_nsf",
    "cnf",
    "ffjord",
    "flowpp",
    "gaussianization",
    "glow_1d",
    "iaf",
    "maf",
    "naf",
    "nice",
    "nsf_autoregressive",
    "nsf_coupling",
    "planar",
    "radial",
    "realnvp",
    "residual",
    "rnode",
    "sos",
    "sylvester",
    "unaf",
]
