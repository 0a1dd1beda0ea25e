"""Named architectures, after their papers, and their files on disk."""

from collections.abc import Callable

from flowjax_lite.distributions import Flow
from flowjax_lite.flows.bnaf import bnaf
from flowjax_lite.flows.maf import iaf, maf
from flowjax_lite.flows.nice import nice
from flowjax_lite.flows.nsf import nsf_autoregressive, nsf_coupling
from flowjax_lite.flows.realnvp import realnvp
from flowjax_lite.flows.residual import residual
from flowjax_lite.flows.serialization import load, save

NAMED: dict[str, Callable[..., Flow]] = {
    "nice": nice,
    "realnvp": realnvp,
    "maf": maf,
    "iaf": iaf,
    "nsf_coupling": nsf_coupling,
    "nsf_autoregressive": nsf_autoregressive,
    "residual": residual,
    "bnaf": bnaf,
}

__all__ = [
    "NAMED",
    "bnaf",
    "iaf",
    "load",
    "maf",
    "nice",
    "nsf_autoregressive",
    "nsf_coupling",
    "realnvp",
    "residual",
    "save",
]
