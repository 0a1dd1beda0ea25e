"""Affine flows whose networks see arcsinh of their inputs, or the inputs as they are.

python benchmarks/input_activation.py
python benchmarks/input_activation.py --data-dir data --sets iris power-plant --seeds 1 --out x.md
"""

import argparse
from pathlib import Path

import jax
import numpy as np
from common import environment, markdown_table
from flax import nnx
from small_data import HELD_OUT, SHAPE_ROWS, SHAPES, TABLES, TEST_ROWS, read

import flowjax_lite as fl
from flowjax_lite.bijectors import Standardize

FAMILIES, ACTIVATIONS = ("realnvp", "maf", "glow_1d"), ("identity", "arcsinh")
UCI = ("power-plant",)
NUM, DIM = 12_000, 5  # of the funnel
TEXT = f"""\
# What the networks of affine flows see

Mean and median of the test rows' log-densities, in nats, over {{seeds}} divisions of the rows, or
other rows, and other initial weights; more is better. `identity`: networks see their inputs as they
are; `arcsinh`: they see arcsinh of each, which is the default. Flows and their training are
otherwise as they come, behind the standardisation of the training rows. The shapes in the plane
have {SHAPE_ROWS} rows, {HELD_OUT} of them held out, and {TEST_ROWS:,} to test; the funnel is
Neal's, of {NUM:,} rows in {DIM} dimensions, and {TEST_ROWS:,} to test, with the truth below.

A mean far below its median is the work of a few rows, which the flow takes for impossible."""


def funnel(num: int, seed: int) -> np.ndarray:
    """Neal's funnel: x₁ is normal with spread 3, all others with spread exp(x₁ / 2)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((num, DIM))
    x[:, 0] *= 3
    x[:, 1:] *= np.exp(x[:, :1] / 2)
    return x.astype(np.float32)


def load(name: str, seed: int, data_dir: Path | None) -> tuple[np.ndarray, object, np.ndarray]:
    """Rows to train on, to hold out, or their part, and to test."""
    if name == "funnel":
        return funnel(NUM, seed), 0.1, funnel(TEST_ROWS, 1000 + seed)
    if name not in UCI:
        return read(name, seed)
    with np.load(data_dir / "uci" / f"{name}.npz") as arrays:
        x = np.column_stack([arrays["x"], arrays["y"]]).astype(np.float32)
        return x[arrays[f"train_{seed}"]], 0.1, x[arrays[f"test_{seed}"]]


def log_densities(
    name: str, family: str, seed: int, data_dir: Path | None, **options: str
) -> np.ndarray:
    """Of the test rows, after a fit of a flow with these options, otherwise as it comes."""
    train, validation, test = load(name, seed, data_dir)
    flow = getattr(fl.flows, family)(
        dim=train.shape[1],
        data_map=Standardize.from_data(train),
        rngs=nnx.Rngs(seed),
        **options,
    )
    settings = {"key": seed, "validation": validation, "checks": "off", "progress": False}
    return np.asarray(fl.fit(flow, train, **settings).flow.log_prob(test), float)


def measure(name: str, family: str, activation: str, seed: int, data_dir: Path | None) -> list:
    """Mean and median of the test rows' log-densities."""
    log_p = log_densities(name, family, seed, data_dir, input_activation=activation)
    return [log_p.mean(), np.median(log_p)]


def read_arguments(question: str, sets: tuple[str, ...], out: str) -> argparse.Namespace:
    """What the command line says; by default these sets, and a table of this name."""
    parser = argparse.ArgumentParser(description=question)
    known = (*TABLES, *SHAPES, "funnel", *UCI)
    parser.add_argument("--sets", nargs="+", choices=known, default=sets)
    parser.add_argument("--data-dir", type=Path, help="holds the folder uci, for its tables")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / out)
    arguments = parser.parse_args()
    if arguments.data_dir is None and not set(UCI).isdisjoint(arguments.sets):
        parser.error(f"{', '.join(UCI)}: say with --data-dir where the folder uci lies")
    return arguments


def main() -> None:
    """Train, print each row as it is done, and write the table."""
    sets = ("iris", "wine", "breast_cancer", "digits", "moons", "eight_gaussians", "funnel")
    arguments = read_arguments(__doc__.splitlines()[0], sets, "input_activation.md")
    rows = []
    for name in arguments.sets:
        for family in FAMILIES:
            cells = []
            for activation in ACTIVATIONS:
                found = [
                    measure(name, family, activation, seed, arguments.data_dir)
                    for seed in range(arguments.seeds)
                ]
                cells += [f"{value:.2f}" for value in np.mean(found, axis=0)]
            rows.append([f"{name}, {family}", *cells])
            print(*rows[-1], sep=" | ", flush=True)
        if name == "funnel":
            density = jax.vmap(fl.inference.targets.Funnel(DIM))
            truths = [density(load(name, seed, None)[2]) for seed in range(arguments.seeds)]
            truth = np.mean([[np.mean(each), np.median(each)] for each in truths], axis=0)
            rows.append(["funnel, truth", *2 * [f"{value:.2f}" for value in truth]])
    header = ["rows, flow", *(f"{name}, {of}" for name in ACTIVATIONS for of in ("mean", "median"))]
    parts = [TEXT.format(seeds=arguments.seeds), markdown_table(header, rows), environment()]
    arguments.out.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
