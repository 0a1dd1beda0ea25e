"""flowjax_lite beside its peers: the same flows, one framework after the other.

    pip install "flowjax-lite[bench,plot]"
    python benchmarks/peers.py                  # tables on the screen
    python benchmarks/peers.py --out benchmarks/results/peers.md

Every framework runs in a process of its own, none at the same time as another. The floor is the
same dense layers alone, in a scan, in JAX: in the process of a JAX framework between its calls,
and for the others that of flowjax_lite's process. Read the ratios, not the milliseconds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import environment, markdown_table
from frameworks import base
from frameworks.base import CASES
from peer_process import DIMS, FRAMEWORKS, SAMPLING_DIM
from peers_picture import draw
from timing import VERY_SLOW

OURS, NONE = "flowjax_lite", "–"
HEADER = [
    "parameters",
    "compile s",
    "log_prob ms",
    "÷ floor",
    "÷ ours",
    "error, nats",
    "step ms",
    "÷ floor",
    "÷ ours",
    "sample ms",
    "÷ log_prob",
    "÷ ours",
]
LEGEND = f"""\
{base.BATCH} events a batch, float32. `compile` is the first training step less a later one;
`error` is the largest difference of log_prob from the same model in float64, with all parameters
drawn from a normal distribution of standard deviation {base.PARAMETER_SCALE}; a `step` is one of
Adam, whole; `÷ floor` divides by the dense layers alone; `÷ ours` is the peer's time divided by
that of flowjax_lite, so above 1 flowjax_lite is faster. Networks have ReLU activations, splines
{base.NUM_BINS} bins on [−{base.BOUND:g}, {base.BOUND:g}] and the identity outside; what makes a
scale positive is each framework's own. Torch runs eagerly, as in the documentation of its three
frameworks."""

Result = dict[str, Any]
Numbers = dict[str, float]


def run(framework: str, cases: list[str], repeats: int) -> Result | None:
    """Measure one framework in a process of its own; None if that fails."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "result.json"
        script = Path(__file__).with_name("peer_process.py")
        options = ["--cases", *cases, "--repeats", str(repeats), "--out", str(out)]
        failed = subprocess.run([sys.executable, str(script), framework, *options]).returncode
        return None if failed else json.loads(out.read_text())


def number(value: float | None, mark: str = "") -> str:
    """Three significant digits without an exponent."""
    if value is None:
        return NONE
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}{mark}"


def milliseconds(value: float) -> str:
    """A time, marked where it was taken once."""
    return number(value, "*" if value > VERY_SLOW else "")


def ratio(numbers: Numbers, key: str, other: Numbers | None, other_key: str) -> str:
    """One number divided by another, where that was measured."""
    return number(numbers[key] / other[other_key] if other else None)


def case_table(results: list[Result], case: str, dim: int) -> str:
    """One flow in all frameworks."""
    all_numbers = {result["name"]: result["cases"][case][str(dim)] for result in results}
    ours = all_numbers.get(OURS)
    rows = []
    for result in results:
        numbers = all_numbers[result["name"]]
        floor = numbers if result["compiled"] else ours
        rows.append(
            [
                result["name"],
                f"{numbers['parameters']:,}",
                number(numbers["compile"] / 1e3) if result["compiled"] else NONE,
                milliseconds(numbers["log_prob"]),
                ratio(numbers, "log_prob", floor, "floor"),
                ratio(numbers, "log_prob", ours, "log_prob"),
                f"{numbers['error']:.1e}",
                milliseconds(numbers["step"]),
                ratio(numbers, "step", floor, "floor step"),
                ratio(numbers, "step", ours, "step"),
                milliseconds(numbers["sample"]),
                ratio(numbers, "sample", numbers, "log_prob"),
                ratio(numbers, "sample", ours, "sample"),
            ]
        )
    return markdown_table([f"D = {dim}", *HEADER], rows)


def sampling_table(results: list[Result], cases: list[str]) -> str:
    """Sampling alone, in many dimensions."""
    sampling = {
        result["name"]: [result["cases"][case][str(SAMPLING_DIM)] for case in cases]
        for result in results
    }
    ours = sampling.get(OURS, [None] * len(cases))
    rows = []
    for name, numbers in sampling.items():
        row = [name]
        for one, our in zip(numbers, ours, strict=True):
            row += [milliseconds(one["sample"]), ratio(one, "sample", our, "sample")]
        rows.append(row)
    header = [f"D = {SAMPLING_DIM}"]
    for case in cases:
        header += [f"{CASES[case]}, ms", "÷ ours"]
    return markdown_table(header, rows)


def fit_table(results: list[Result]) -> str:
    """Two trainings in one process."""
    rows = []
    for result in results:
        seconds = [number(fit["seconds"]) for fit in result["fit"]]
        counts = [str(fit["compilations"]) if result["compiled"] else NONE for fit in result["fit"]]
        rows.append([result["name"], *seconds, *counts])
    header = ["", "first call, s", "second call, s", "compilations in the first", "in the second"]
    return markdown_table(header, rows)


def report(results: list[Result], cases: list[str], repeats: int) -> str:
    """The tables, and what they were measured with."""
    packages = [package for result in results for package in result["versions"]]
    parts = ["# flowjax_lite and its peers", f"{LEGEND} Times are medians of {repeats} calls."]
    parts.append(" ".join(result["difference"] for result in results if result["difference"]))
    for case in cases:
        parts.append(f"## {CASES[case]}")
        parts += [case_table(results, case, dim) for dim in DIMS]
    parts += ["## Sampling in many dimensions", sampling_table(results, cases)]
    parts.append(
        f"\\* One call after one to warm up, where a call takes more than {VERY_SLOW / 1e3:g} s."
    )
    parts.append("## Training")
    parts.append(
        f"{base.FIT_CASE}, D = {base.FIT_DIM}: {base.FIT_EPOCHS} epochs of {base.FIT_ROWS:,} rows, "
        f"of which {base.FIT_VALIDATION:.0%} validate, {base.FIT_BATCH} a batch. flowjax_lite and "
        f"flowjax train with their own `fit`, the others in a plain loop. The second call in a "
        f"process trains a flow built anew."
    )
    parts += [fit_table(results), environment(tuple(packages))]
    return "\n\n".join(part for part in parts if part) + "\n"


def main() -> None:
    """Measure the chosen frameworks and cases; print or write tables and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="Markdown file to write; a picture lies beside it")
    names = list(FRAMEWORKS)
    parser.add_argument("--frameworks", nargs="+", choices=names, default=names)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    measured = {
        name: run(name, arguments.cases, arguments.repeats) for name in arguments.frameworks
    }
    results = [result for result in measured.values() if result]
    text = report(results, arguments.cases, arguments.repeats)
    failed = [name for name, result in measured.items() if not result]
    if failed:
        text += f"\nNot measured, as their process failed: {', '.join(failed)}.\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)
        draw(results, arguments.cases).savefig(arguments.out.with_suffix(".png"), dpi=120)


if __name__ == "__main__":
    main()
