"""`flowjax-lite list`: the families of flows and the named data sets, and what a family takes."""

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import flowjax_lite as fl
from flowjax_lite.cli.config import flow_options
from flowjax_lite.cli.config.schema import FAMILY, FLOWS
from flowjax_lite.data import TOYS, bsds300, uci
from flowjax_lite.data.named.embedded import EMBEDDED

_WIDTH = 100


def catalogue(flow: str | None = None) -> None:
    """List the flows and the named data sets, or the options of one flow.

    Args:
        flow: The flow whose options are listed; without it, what there is.

    Raises:
        ValueError: There is no such flow.
    """
    if flow is not None:
        FAMILY.check(flow, "flow")
        print(f"{flow}: {_summary(FLOWS[flow])}\n")
        print(_table({name: option.help for name, option in flow_options(flow).items()}))
        return
    in_files: Mapping[str, Callable[..., Any]] = {"bsds300": bsds300, "uci/NAME": uci}
    sets = {**EMBEDDED, **TOYS, **in_files}
    print("Flows, for `flow.family` (`flowjax-lite list FLOW` shows the options of one):\n")
    print(_table({name: _summary(factory) for name, factory in fl.flows.NAMED.items()}))
    print("\nFlows of images, for `flow.family` and data that are images of whole levels:\n")
    print(_table({name: _summary(factory) for name, factory in fl.flows.IMAGES.items()}))
    print("\nData sets, for `data.source`, which may also be the path of a file:\n")
    print(_table({name: _summary(make) for name, make in sets.items()}))
    print("\nThe last two are read from the folder data.data_dir.")


_PAPER = r"(?:[^.]|(?<= al)\.)*arXiv:\d{4}\.\d{4,5}"


def _summary(documented: Any) -> str:
    """Return the first sentence of a docstring, and its paper if it names one."""
    first, *others = (inspect.getdoc(documented) or "").split("\n\n")
    for paragraph in others:
        # The sentence that names the paper; "et al." ends none.
        if paper := re.search(_PAPER, " ".join(paragraph.split())):
            return f"{' '.join(first.split())} {paper[0].strip()}."
    return " ".join(first.split())


def _table(rows: Mapping[str, str]) -> str:
    """Return names with what is said of each, in two columns."""
    width = max(map(len, rows)) + 2
    return "\n".join(
        textwrap.fill(
            text, _WIDTH, initial_indent=f"  {name:<{width}}", subsequent_indent=(width + 2) * " "
        )
        for name, text in rows.items()
    )
