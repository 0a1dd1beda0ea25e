"""What a newcomer waits for: importing, building a flow, training it once, and once more.

    pip install "flowjax-lite[bench]"
    python benchmarks/first_use.py
    python benchmarks/first_use.py --out first_use.md

Each library and flow has processes of its own, in turn, without a cache on disk; the table has
medians.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

DIM, ROWS, EPOCHS, BATCH, VALIDATION = 8, 10_000, 5, 100, 0.1
LAYERS = {"nsf_coupling": 8, "maf": 5}
WIDTH = 50
NUM_BINS, BOUND = 8, 5.0
PHASES = ("import", "build", "first fit", "second fit")


def with_flowjax_lite(name: str) -> dict[str, float]:
    """Seconds of each phase, as a notebook would go through them."""
    start = time.perf_counter()
    from flax import nnx

    import flowjax_lite as fl

    imported = time.perf_counter()

    def build(seed: int) -> fl.distributions.Flow:
        options = {"dim": DIM, "num_layers": LAYERS[name], "hidden": (WIDTH,)}
        return fl.flows.NAMED[name](**options, rngs=nnx.Rngs(seed))

    def fit(flow: fl.distributions.Flow) -> None:
        settings = {"batch_size": BATCH, "validation": VALIDATION, "patience": None}
        fl.fit(flow, rows(), key=0, max_epochs=EPOCHS, progress=False, **settings)

    return seconds(start, imported, build, fit)


def with_flowjax(name: str) -> dict[str, float]:
    """The same of flowjax, with its own training."""
    start = time.perf_counter()
    import jax
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import AbstractDistribution, StandardNormal
    from flowjax.flows import coupling_flow, masked_autoregressive_flow
    from flowjax.train import fit_to_data

    imported = time.perf_counter()

    def build(seed: int) -> AbstractDistribution:
        options = {"flow_layers": LAYERS[name], "nn_width": WIDTH, "nn_depth": 1}
        options["base_dist"] = StandardNormal((DIM,))
        if name == "maf":
            return masked_autoregressive_flow(jax.random.key(seed), **options)
        # K knots inside the interval and its two ends make K + 1 bins.
        spline = RationalQuadraticSpline(knots=NUM_BINS - 1, interval=BOUND)
        return coupling_flow(jax.random.key(seed), transformer=spline, **options)

    def fit(flow: AbstractDistribution) -> None:
        settings = {"max_patience": EPOCHS, "val_prop": VALIDATION, "show_progress": False}
        options = {"batch_size": BATCH, "max_epochs": EPOCHS, **settings}
        fit_to_data(jax.random.key(0), flow, rows(), **options)

    return seconds(start, imported, build, fit)


LIBRARIES = {"flowjax_lite": with_flowjax_lite, "flowjax": with_flowjax}


def rows() -> np.ndarray:
    """The data of all."""
    return np.random.default_rng(0).standard_normal((ROWS, DIM), np.float32)


def seconds(
    start: float, imported: float, build: Callable[[int], Any], fit: Callable[[Any], None]
) -> dict[str, float]:
    """Seconds of each phase."""
    ends = [start, imported]
    flow = build(0)
    ends.append(time.perf_counter())
    fit(flow)
    ends.append(time.perf_counter())
    fit(build(1))
    ends.append(time.perf_counter())
    return dict(zip(PHASES, np.diff(ends).tolist(), strict=True))


def in_a_process(library: str, name: str) -> dict[str, float]:
    """The phases of one process."""
    command = [sys.executable, __file__, "--one", library, name]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(output.splitlines()[-1])


def main() -> None:
    """Measure, and print or write a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        library, name = arguments.one
        print(json.dumps(LIBRARIES[library](name)))
        return
    from common import environment, markdown_table

    measured = {(name, library): [] for name in LAYERS for library in LIBRARIES}
    for _ in range(arguments.repeats):
        for (name, library), phases in measured.items():
            phases.append(in_a_process(library, name))
    table = []
    for (name, library), phases in measured.items():
        medians = [statistics.median(each[phase] for each in phases) for phase in PHASES]
        table.append([name, library, *(f"{each:.2f}" for each in [*medians, sum(medians[:3])])])
    header = ["flow", "library", *(f"{phase}, s" for phase in PHASES), "until it is trained, s"]
    text = f"""# First use

{markdown_table(header, table)}

`nsf_coupling` of {LAYERS["nsf_coupling"]} layers and `maf` of {LAYERS["maf"]}, networks of one
hidden layer of {WIDTH}, on {ROWS:,} rows of {DIM} numbers: {EPOCHS} epochs in batches of {BATCH},
{VALIDATION:.0%} of the rows held out; each library by its own training, without a progress bar.
Medians of {arguments.repeats} processes; nothing is read from a cache of compiled programs. The
second fit is of a flow built anew. "Until it is trained" is the sum up to the first fit.

{environment(("flowjax", "equinox"))}
"""
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
