"""FFJORD beside zuko's CNF and torchdiffeq: the same equation, tolerance and number of probes.

    pip install "flowjax-lite[bench,plot,continuous]"
    python benchmarks/continuous_speed.py

Each framework runs in a process of its own, none at the same time as another. All take the same
weights, so that log-densities must agree; their error is measured against a solve in float64 with
a tolerance of 1e-11. Read the ratios, not the milliseconds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import environment, markdown_table
from matplotlib.figure import Figure
from ode.case import BATCH, CASES, HIDDEN
from ode.with_flowjax_lite import reference

FRAMEWORKS = {
    "flowjax_lite": ("ode.with_flowjax_lite", "FlowjaxLite"),
    "flowjax_lite, one device": ("ode.with_flowjax_lite", "OneDevice"),
    "zuko": ("ode.with_zuko", "Zuko"),
    "torchdiffeq": ("ode.with_torchdiffeq", "Torchdiffeq"),
    "torchdiffeq, adjoint": ("ode.with_torchdiffeq", "Adjoint"),
}
OURS = "flowjax_lite"
HEADER = [
    "equation",
    "error, nats",
    "evaluations",
    "log_prob ms",
    "÷ ours",
    "step ms",
    "÷ ours",
]
TEXT = f"""\
The velocity is a network of hidden layers {HIDDEN} with tanh, of the point and of three sines and
cosines of the time, with the same random weights in all frameworks. {BATCH} rows a batch, float32.
`log_prob` is exact; a `step` of Adam, whole, estimates the trace with one probe. `error` is the
mean difference of `log_prob` from float64 at a tolerance of 1e-11; `evaluations` counts those of
the velocity for `log_prob`, in flowjax_lite on average over the rows, which all have steps of
their own; `÷ ours` divides by the time of flowjax_lite, so above 1 flowjax_lite is faster.

All use Dormand and Prince's method of order 5 with rtol = atol. flowjax_lite holds each row to the
tolerance, with the log-determinant. zuko, which has a solver of its own, and torchdiffeq, in the
version of FFJORD's code, choose one step for the whole batch; zuko gives the log-determinant a
hundred times the tolerance. torchdiffeq's gradients go back through the operations of its solver
(`odeint`), or solve another equation, as FFJORD's code does (`odeint_adjoint`). Torch runs
eagerly, as in the documentation of both.

Torch computes with all cores. So does flowjax_lite where each core of a CPU is a device of its own,
by `jax.config.update("jax_num_cpu_devices", number)`, and the rows are divided among them, by
`make_train_step(..., mesh=all_devices())`. `one device` is JAX as it begins, where a solver's loop
keeps only some of the cores busy."""

Numbers = dict[str, Any]


def run(framework: str, repeats: int) -> dict[str, Any]:
    """Measure one framework in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "result.json"
        script = Path(__file__).with_name("ode") / "process.py"
        arguments = [*FRAMEWORKS[framework], "--repeats", str(repeats), "--out", str(out)]
        subprocess.run([sys.executable, str(script), *arguments], check=True)
        result: dict[str, Any] = json.loads(out.read_text())
        return result


def add_errors(results: dict[str, dict[str, Numbers]]) -> None:
    """Add the mean error of each framework's log-densities, in nats."""
    for name, case in CASES.items():
        exact = reference(case)
        for numbers in results.values():
            numbers[name]["error"] = float(np.abs(numbers[name]["values"] - exact).mean())


def table(results: dict[str, dict[str, Numbers]]) -> str:
    """A row for each equation and framework."""
    rows = []
    for name, case in CASES.items():
        ours = results[OURS][name]
        for framework, numbers in results.items():
            found = numbers[name]
            ratios = [found[key] / ours[key] for key in ("log_prob", "step")]
            rows.append(
                [
                    f"D={case.dim}, rtol={case.tolerance:g}: {framework}",
                    f"{found['error']:.1e}",
                    f"{found['evaluations']:.0f}",
                    f"{found['log_prob']:.1f}",
                    f"{ratios[0]:.1f}",
                    f"{found['step']:.1f}",
                    f"{ratios[1]:.1f}",
                ]
            )
    return markdown_table(HEADER, rows)


def draw(results: dict[str, dict[str, Numbers]]) -> Figure:
    """Times against the dimension, and against the tolerance."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    panels = figure.subplots(2, 2, sharey="row")
    at_tolerance = [(name, case.dim) for name, case in CASES.items() if case.tolerance == 1e-5]
    at_dim = [(name, case.tolerance) for name, case in CASES.items() if case.dim == 8]
    columns = [("dimension", at_tolerance), ("tolerance", at_dim)]
    for row, key in zip(panels, ("log_prob", "step"), strict=True):
        for axes, (label, places) in zip(row, columns, strict=True):
            places = sorted(places, key=lambda place: place[1])
            for framework, numbers in results.items():
                times = [numbers[name][key] for name, _ in places]
                axes.loglog([at for _, at in places], times, marker="o", label=framework)
            axes.set(xlabel=label)
            axes.set_xticks([at for _, at in places], [f"{at:g}" for _, at in places], minor=False)
            axes.minorticks_off()
            axes.grid(alpha=0.3, which="both")
            axes.spines[["top", "right"]].set_visible(False)
        exact = {"log_prob": "log_prob, exact trace", "step": "training step, one probe"}
        row[0].set(ylabel=f"{exact[key]}, ms")
        row[1].invert_xaxis()
    panels[0][0].legend(frameon=False)
    figure.suptitle(f"The same equation: {BATCH} rows, hidden layers {HIDDEN}")
    return figure


def main() -> None:
    """Measure, and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    results = {framework: run(framework, arguments.repeats) for framework in FRAMEWORKS}
    add_errors(results)
    versions = ("jax", "jaxlib", "flax", "diffrax", "torch", "zuko", "torchdiffeq")
    text = f"# FFJORD beside zuko and torchdiffeq\n\n{TEXT}\n\n{table(results)}\n\n"
    path = arguments.results / "continuous_speed.md"
    path.write_text(text + environment(versions) + "\n")
    draw(results).savefig(path.with_suffix(".png"), dpi=110)
    print(path.read_text())


if __name__ == "__main__":
    main()
