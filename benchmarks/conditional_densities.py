"""Densities of a number given the other columns of its row: five tables of UCI, published splits.

python benchmarks/conditional_densities.py --data-dir data
python benchmarks/conditional_densities.py --data-dir data --sets yacht --splits 2 --out x.md
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import environment, markdown_table
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.bijectors import Standardize

MEMBERS, HIDDEN, LAYERS, BATCH, EPOCHS, PATIENCE = 5, (64, 64), 2, 64, 400, 50
# Of probabilistic backpropagation, dropout, and ensembles of normals, in this order.
PUBLISHED = {
    "concrete": ("-3.16", "-3.04", "-3.06"),
    "energy": ("-2.04", "-1.99", "-1.38"),
    "power-plant": ("-2.84", "-2.80", "-2.79"),
    "wine-quality-red": ("-0.97", "-0.93", "-0.94"),
    "yacht": ("-1.63", "-1.55", "-1.18"),
}
TEXT = f"""\
# Densities of a number, given a row

Mean log-density of the test rows, in nats and in the target's own units, and its standard error
over {{splits}} of the 20 published splits; more is better. `flow` is the mixture of {MEMBERS}
autoregressive splines of {LAYERS} layers with hidden layers of {HIDDEN}, `one flow` the first of
them; `normal` is the mixture of as many `maf` of one layer, which is a normal whose mean and
spread networks give. All are trained alike: batches of {BATCH}, at most {EPOCHS} epochs, ended
after {PATIENCE} without a better validation on a tenth of the training rows. This setting was the
first that was tried, and was not changed.

PBP, dropout and deep ensembles: probabilistic backpropagation, Monte-Carlo dropout, and ensembles
of five such normals, from table 1 of Lakshminarayanan, Pritzel and Blundell, 2017,
arXiv:1612.01474. That table has negative log-likelihoods, and errors of its own.

The quality of a wine is a whole number of six values: flows put a spike on each, and a density
may be as high there as one likes. The number says that they noticed, and no more."""


class Split(NamedTuple):
    """Conditions (rows, columns) and targets (rows, 1) to train on and to judge."""

    condition: np.ndarray
    y: np.ndarray
    test_condition: np.ndarray
    test_y: np.ndarray


def read(directory: Path, name: str, index: int) -> Split:
    """One of the published splits."""
    with np.load(directory / "uci" / f"{name}.npz") as arrays:
        x, y = arrays["x"].astype(np.float32), arrays["y"].astype(np.float32)[:, None]
        train, test = arrays[f"train_{index}"], arrays[f"test_{index}"]
    return Split(x[train], y[train], x[test], y[test])


def trained(make_flow: Callable[..., fl.Flow], split: Split, index: int) -> tuple[float, float]:
    """Mean log-densities of the test rows, by the mixture and by its first member."""
    flows = [
        make_flow(
            dim=1,
            condition_dim=split.condition.shape[1],
            hidden=HIDDEN,
            data_map=Standardize.from_data(split.y),
            condition_map=Standardize.from_data(split.condition),
            rngs=nnx.Rngs(MEMBERS * index + member),
        )
        for member in range(MEMBERS)
    ]
    result = fl.fit_ensemble(
        flows,
        split.y,
        condition=split.condition,
        key=index,
        batch_size=BATCH,
        max_epochs=EPOCHS,
        patience=PATIENCE,
        checks="off",  # of repeated values, which these targets have
        progress=False,
    )
    judged = split.test_y, split.test_condition
    first = result.members[0].flow
    return float(result.mixture.log_prob(*judged).mean()), float(first.log_prob(*judged).mean())


def told(values: list[float]) -> str:
    """The mean and its standard error."""
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.2f} ± {error:.2f}"


def main() -> None:
    """Train, print each table as it is done, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    parser.add_argument("--splits", type=int, default=20, help="at least 2, at most 20")
    default = Path(__file__).parent / "results" / "conditional_densities.md"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    spline = functools.partial(fl.flows.nsf_autoregressive, num_layers=LAYERS)
    normal = functools.partial(fl.flows.maf, num_layers=1)
    rows = []
    for name in arguments.sets:
        mixtures, firsts, normals = [], [], []
        for index in range(arguments.splits):
            split = read(arguments.data_dir, name, index)
            mixture, first = trained(spline, split, index)
            mixtures.append(mixture)
            firsts.append(first)
            normals.append(trained(normal, split, index)[0])
        rows.append([name, told(mixtures), told(firsts), told(normals), *PUBLISHED[name]])
        print(*rows[-1], sep=" | ", flush=True)
    header = ["table", "flow", "one flow", "normal", "PBP", "dropout", "deep ensembles"]
    parts = [TEXT.format(splits=arguments.splits), markdown_table(header, rows), environment()]
    arguments.out.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
