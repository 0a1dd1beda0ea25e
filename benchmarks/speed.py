"""Time flows against their floor: the same dense layers alone, run the same way.

    python benchmarks/speed.py                 # table on the screen
    python benchmarks/speed.py --out benchmarks/results/speed.md
    python benchmarks/speed.py --batches 512 16384 --compute-dtypes float32 bfloat16

The floor of a case runs the case's conditioner networks, layer by layer in a scan and in the same
precision, forward for log_prob, and as a whole Adam step for training. Times are medians of
interleaved runs in one process, each after a call of its own; read the ratios, not the
milliseconds.
"""

import argparse
import itertools
from pathlib import Path

import jax
import optax
from common import environment, markdown_table
from flax import nnx
from floor import floor_calls
from timing import interleaved

import flowjax_lite as fl

DIM = 63
CASES = {
    "maf 5x(256,256)": (fl.flows.maf, {"num_layers": 5, "hidden": (256, 256)}),
    "realnvp 8x(256,256)": (fl.flows.realnvp, {"num_layers": 8, "hidden": (256, 256)}),
    "nsf_coupling 8x(128,128)": (fl.flows.nsf_coupling, {"num_layers": 8, "hidden": (128, 128)}),
    "nsf_autoregressive 5x(128,128)": (
        fl.flows.nsf_autoregressive,
        {"num_layers": 5, "hidden": (128, 128)},
    ),
}


def measure(flow: fl.Flow, batch: int, repeats: int) -> list[str]:
    """The numbers of one row of the table."""
    x = jax.random.normal(jax.random.key(0), (batch, DIM))
    key = jax.random.key(1)
    optimizer = optax.adam(1e-4)
    step = jax.jit(fl.make_train_step(fl.negative_log_likelihood, optimizer))
    log_prob = jax.jit(lambda flow, x: flow.log_prob(x))
    sample = jax.jit(lambda flow, key: flow.sample(key, (batch,)))
    state = fl.TrainState.create(flow, optimizer)
    ms = interleaved(
        {
            "log_prob": lambda: log_prob(flow, x),
            "step": lambda: step(state, x)[1],
            "sample": lambda: sample(flow, key),
            **floor_calls(flow, x),
        },
        repeats,
        jax.block_until_ready,
    )
    return [
        f"{ms['log_prob']:.2f}",
        f"{ms['log_prob'] / ms['floor']:.2f}",
        f"{ms['step']:.2f}",
        f"{ms['step'] / ms['floor step']:.2f}",
        f"{ms['sample']:.2f}",
        f"{ms['sample'] / ms['log_prob']:.2f}",
    ]


def main() -> None:
    """Measure the chosen cases and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--batches", type=int, nargs="+", default=[512])
    parser.add_argument("--compute-dtypes", nargs="+", default=["float32"])
    arguments = parser.parse_args()
    rows = []
    for name, batch in itertools.product(arguments.cases, arguments.batches):
        make, settings = CASES[name]
        for compute_dtype in arguments.compute_dtypes:
            flow = make(dim=DIM, rngs=nnx.Rngs(0), compute_dtype=compute_dtype, **settings)
            numbers = measure(flow, batch, arguments.repeats)
            rows.append([name, str(batch), compute_dtype, *numbers])
            print(*rows[-1], flush=True)
    header = [
        f"D={DIM}",
        "batch",
        "networks in",
        "log_prob ms",
        "÷ floor",
        "step ms",
        "÷ floor step",
        "sample ms",
        "÷ log_prob",
    ]
    text = "\n".join(
        [
            "# Speed",
            "",
            markdown_table(header, rows),
            "",
            environment(),
            "",
        ]
    )
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
