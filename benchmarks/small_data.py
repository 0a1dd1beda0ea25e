"""Do flows beat a Gaussian, kernels and a mixture of Gaussians where rows are few?

python benchmarks/small_data.py
python benchmarks/small_data.py --sets iris moons --seeds 1 --out small_data.md
"""

import argparse
from pathlib import Path

import numpy as np
from common import environment, markdown_table
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.baselines import Examples, fit_gaussian, fit_kernels, fit_mixture
from flowjax_lite.bijectors import Standardize

BASELINES = {"Gaussian": fit_gaussian, "kernels": fit_kernels, "mixture": fit_mixture}
TABLES = ("iris", "wine", "breast_cancer", "digits")
SHAPES = ("moons", "circles", "eight_gaussians", "pinwheel", "two_spirals", "checkerboard")
SHAPE_ROWS, HELD_OUT, TEST_ROWS = 1000, 200, 2000
MEMBERS = 10
TEXT = f"""\
# Few rows

Mean log-density of the test rows, in nats, of {{seeds}} divisions of the rows; more is better.
The shapes in the plane have {SHAPE_ROWS} rows, {HELD_OUT} of them held out, and {TEST_ROWS:,} to
test. `ensemble`: {MEMBERS} `nsf_coupling` as they come, trained by `fit_ensemble` with
`validation="folds"` and otherwise as it comes; `flow`: one of them, trained by `fit` as it comes,
with the rows held out that choose the baselines' settings. The baselines: a Gaussian of full
covariance, kernels, and a mixture of Gaussians, with the settings that are best on the rows held
out, which they do not train on, nor does `flow`; that the members of the ensemble together do is
its point."""


def read(name: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows to train on, to hold out and to test."""
    sizes = {"num": SHAPE_ROWS + TEST_ROWS, "validation": HELD_OUT, "test": TEST_ROWS}
    data = fl.data.load(name, seed=seed, **sizes if name in SHAPES else {})
    train, held_out, test = (
        np.asarray(part.x, np.float32) for part in (data.train, data.validation, data.test)
    )
    return train, held_out, test


def measure(name: str, seed: int) -> dict[str, float]:
    """Mean log-densities of the test rows."""
    train, held_out, test = read(name, seed)
    examples = [Examples(part.astype(float)) for part in (train, held_out, test)]
    result = {
        label: float(np.mean(fit(examples[0], validation=examples[1]).log_prob(examples[2])))
        for label, fit in BASELINES.items()
    }
    rows = np.concatenate([train, held_out])
    dim, scale = rows.shape[1], Standardize.from_data(rows)
    flows = [
        fl.flows.nsf_coupling(dim=dim, data_map=scale, rngs=nnx.Rngs(MEMBERS * seed + i))
        for i in range(MEMBERS)
    ]
    options = {"key": seed, "checks": "off", "progress": False}
    flow = fl.fit(flows[0], train, validation=held_out, **options).flow
    mixture = fl.fit_ensemble(flows, rows, validation="folds", **options).mixture
    result["flow"] = float(np.mean(flow.log_prob(test)))
    result["ensemble"] = float(np.mean(mixture.log_prob(test)))
    return result


def main() -> None:
    """Train, print each set as it is done, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=TABLES + SHAPES, default=TABLES + SHAPES)
    parser.add_argument("--seeds", type=int, default=3)
    default = Path(__file__).parent / "results" / "small_data.md"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    columns, rows, wins = [*BASELINES, "flow", "ensemble"], [], 0
    for name in arguments.sets:
        measured = [measure(name, seed) for seed in range(arguments.seeds)]
        means = {column: np.mean([each[column] for each in measured]) for column in columns}
        wins += means["ensemble"] > max(means[label] for label in BASELINES)
        rows.append([name, *(f"{means[column]:.2f}" for column in columns)])
        print(*rows[-1], sep=" | ", flush=True)
    parts = [
        TEXT.format(seeds=arguments.seeds),
        markdown_table(["rows", *columns], rows),
        f"The ensemble is above all three baselines in {wins} of {len(rows)}.",
        environment(),
    ]
    arguments.out.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
