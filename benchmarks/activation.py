"""What do named flows learn with relu, silu and tanh in their networks?

python benchmarks/activation.py
python benchmarks/activation.py --data-dir data --sets iris power-plant --seeds 1 --out x.md
"""

import numpy as np
from common import environment, markdown_table
from input_activation import log_densities, read_arguments

FAMILIES, ACTIVATIONS = ("realnvp", "maf", "nsf_coupling"), ("relu", "silu", "tanh")
TEXT = """\
# Activations of the networks

Mean of the test rows' log-densities, in nats, over {seeds} divisions of the rows and initial
weights; more is better. Flows and their training are otherwise as they come, behind the
standardisation of the training rows; silu is the default. The rows are those of
[what the networks see](input_activation.md)."""


def main() -> None:
    """Train, print each row as it is done, and write the table."""
    sets = ("iris", "wine", "breast_cancer", "moons", "two_spirals", "eight_gaussians")
    arguments = read_arguments(__doc__.splitlines()[0], sets, "activation.md")
    rows = []
    for name in arguments.sets:
        cells = [name]
        for family in FAMILIES:
            for activation in ACTIVATIONS:
                found = [
                    log_densities(name, family, seed, arguments.data_dir, activation=activation)
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
