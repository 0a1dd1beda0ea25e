"""What does the density of one event cost beside a compiled function of the same arrays?

python benchmarks/one_event.py
python benchmarks/one_event.py --repeats 2 --out one_event.md
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
from common import environment, markdown_table
from flax import nnx
from timing import interleaved

import flowjax_lite as fl

DIM, CALLS = 8, 200
FAMILIES = ("realnvp", "maf", "iaf", "nsf_coupling", "nsf_autoregressive", "residual")
FLOOR = "compiled, of arrays"
TEXT = f"""\
# The density of one event

`log_prob` of one event of {DIM} numbers, flows as they come: microseconds, medians of
{{repeats}} turns of {CALLS} calls one after the other. `flow.log_prob(x)`, as one writes it; within
a compiled function that is given the flow; within one that is given the arrays of the flow alone,
so that nothing is left but to run it; and within one that has them as constants. `ratio` is the
first beside the third."""


def calls(family: str) -> dict[str, Callable[[], object]]:
    """Ways to the density of one event, each for a number of calls."""
    flow = fl.flows.NAMED[family](dim=DIM, rngs=nnx.Rngs(0))
    leaves, structure = jax.tree.flatten(flow)
    x = jnp.ones(DIM)
    of_flow = jax.jit(lambda flow, x: flow.log_prob(x))
    of_arrays = jax.jit(lambda leaves, x: jax.tree.unflatten(structure, leaves).log_prob(x))
    of_event = jax.jit(lambda x: flow.log_prob(x))
    once = {
        "flow.log_prob(x)": lambda: flow.log_prob(x),
        "compiled, of the flow": lambda: of_flow(flow, x),
        FLOOR: lambda: of_arrays(leaves, x),
        "compiled, of x alone": lambda: of_event(x),
    }

    def often(call: Callable[[], jax.Array]) -> Callable[[], object]:
        return lambda: [call().block_until_ready() for _ in range(CALLS)]

    return {name: often(call) for name, call in once.items()}


def main() -> None:
    """Measure each family, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=11)
    default = Path(__file__).parent / "results" / "one_event.md"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    rows: list[list[str]] = []
    for family in FAMILIES:
        times = interleaved(calls(family), arguments.repeats, lambda results: results)
        microseconds = {name: 1e3 * value / CALLS for name, value in times.items()}
        first, *_ = microseconds.values()
        values = [f"{value:.0f}" for value in microseconds.values()]
        rows.append([family, *values, f"{first / microseconds[FLOOR]:.2f}"])
        print(*rows[-1], flush=True)
    header = ["flow", *microseconds, "ratio"]
    parts = [
        TEXT.format(repeats=arguments.repeats),
        markdown_table(header, rows),
        environment(),
    ]
    arguments.out.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
