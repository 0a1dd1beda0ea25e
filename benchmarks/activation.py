"""What do named flows learn with relu, silu and tanh in their networks?

python benchmarks/activation.py
python benchmarks/activation.py --data-dir data --sets iris power-plant --seeds 1 --out x.md
"""

import argparse
from pathlib import Path

import numpy as np
from common import environment, markdown_table
from flax import nnx
from input_activation import UCI, load
from small_data import SHAPES, TABLES

import flowjax_lite as fl
from flowjax_lite.bijectors import Standardize

FAMILIES, ACTIVATIONS = ("realnvp", "maf", "nsf_coupling"), ("relu", "silu", "tanh")
TEXT = """\
# Activations of the networks

Mean of the test rows' log-densities, in nats, over {seeds} divisions of the rows and initial
weights; more is better. Flows and their training are otherwise as they come, behind the
standardisation of the training rows; silu is the default. The rows are those of
[what the networks see](input_activation.md)."""


def measure(name: str, family: str, activation: str, seed: int, data_dir: Path | None) -> float:
    """Mean of the test rows' log-densities."""
    train, validation, test = load(name, seed, data_dir)
    flow = getattr(fl.flows, family)(
        dim=train.shape[1],
        activation=activation,
        data_map=Standardize.from_data(train),
        rngs=nnx.Rngs(seed),
    )
    options = {"key": seed, "validation": validation, "checks": "off", "progress": False}
    return float(np.mean(fl.fit(flow, train, **options).flow.log_prob(test)))


def main() -> None:
    """Train, print each row as it is done, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sets = (*TABLES, *SHAPES, "funnel", *UCI)
    default_sets = (*TABLES[:3], "moons", "two_spirals", "eight_gaussians")
    parser.add_argument("--sets", nargs="+", choices=sets, default=default_sets)
    parser.add_argument("--data-dir", type=Path, help="holds the folder uci, for its tables")
    parser.add_argument("--seeds", type=int, default=3)
    default = Path(__file__).parent / "results" / "activation.md"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    if arguments.data_dir is None and not set(UCI).isdisjoint(arguments.sets):
        parser.error(f"{', '.join(UCI)}: say with --data-dir where the folder uci lies")
    rows = []
    for name in arguments.sets:
        cells = [name]
        for family in FAMILIES:
            for activation in ACTIVATIONS:
                found = [
                    measure(name, family, activation, seed, arguments.data_dir)
                    for seed in range(arguments.seeds)
                ]
                cells.append(f"{np.mean(found):.2f}")
        rows.append(cells)
        print(*cells, sep=" | ", flush=True)
    header = ["rows", *(f"{family}, {of}" for family in FAMILIES for of in ACTIVATIONS)]
    parts = [TEXT.format(seeds=arguments.seeds), markdown_table(header, rows), environment()]
    arguments.out.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
