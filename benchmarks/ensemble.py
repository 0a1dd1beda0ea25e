"""Flows trained at once beside flows trained one after the other.

python benchmarks/ensemble.py
python benchmarks/ensemble.py --members 8 32 --repeats 1
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import numpy as np
from common import environment, markdown_table
from flax import nnx

import flowjax_lite as fl

EPOCHS, ROWS = 12, 9000
CASES: list[tuple[str, dict[str, Any], int]] = [
    ("realnvp", {"num_layers": 2, "hidden": (16,)}, 32),
    ("realnvp", {"num_layers": 4, "hidden": (16, 16)}, 64),
    ("maf", {"num_layers": 3, "hidden": (16, 16)}, 64),
    ("nsf_coupling", {"num_layers": 2, "hidden": (16, 16)}, 64),
    ("realnvp", {"num_layers": 5, "hidden": (32, 32)}, 256),
    ("nsf_coupling", {"num_layers": 4, "hidden": (32, 32)}, 256),
]
TEXT = f"""\
Flows of two numbers, {ROWS:,} rows of `moons`, Adam. `one`: an epoch of a single flow by `fit`. The
other columns: an epoch of so many flows by `fit_ensemble`, over so many epochs of a single one. An
epoch is the median of {EPOCHS - 1} after the first; each number the smallest of {{repeats}} runs,
in turn, as other work can only add to it. The aim is below 0.6. A CPU trains a share of the members
on each core, each share as one program; a GPU trains all as one."""


def epoch(flows: list[fl.Flow], x: np.ndarray, batch_size: int) -> float:
    """Seconds of an epoch."""
    settings: dict[str, Any] = {"key": jax.random.key(0), "batch_size": batch_size}
    settings |= {"max_epochs": EPOCHS, "patience": None, "progress": False}
    if len(flows) == 1:
        result = fl.fit(flows[0], x, **settings)
    else:
        result = fl.fit_ensemble(flows, x, **settings).members[0]
    return float(np.median(np.diff(result.history["seconds"])))


def measure(
    case: tuple[str, dict[str, Any], int], x: np.ndarray, members: list[int], repeats: int
) -> list[str]:
    """A line of the table."""
    name, settings, batch_size = case
    seconds: dict[int, float] = {}
    for _ in range(repeats):
        for num in (1, *members):
            flows = [fl.flows.NAMED[name](dim=2, rngs=nnx.Rngs(i), **settings) for i in range(num)]
            seconds[num] = min(seconds.get(num, np.inf), epoch(flows, x, batch_size))
    ratios = [seconds[num] / (num * seconds[1]) for num in members]
    label = f"{name}, {settings['num_layers']} × {settings['hidden']}, batch {batch_size}"
    line = [label, f"{1e3 * seconds[1]:.1f} ms", *(f"{ratio:.2f}" for ratio in ratios)]
    print(*line, sep="  ", flush=True)
    return line


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    x = fl.data.load("moons", num=ROWS, validation=1, test=1).train.x
    lines = [measure(case, x, arguments.members, arguments.repeats) for case in CASES]
    header = ["flow", "one", *(f"{num} members" for num in arguments.members)]
    table = markdown_table(header, lines)
    text = TEXT.format(repeats=arguments.repeats)
    path = arguments.results / "ensemble.md"
    path.write_text(f"# Ensembles\n\n{text}\n\n{table}\n\n{environment()}\n")


if __name__ == "__main__":
    main()
