"""How noisy estimated log-densities of a trained FFJORD are, beside those with an exact trace.

python benchmarks/families.py --flows ffjord
python benchmarks/continuous_estimates.py --run runs/families/ffjord/ffjord
"""

import argparse
import time
from pathlib import Path

import jax
import numpy as np
from common import environment, markdown_table
from jax import Array

import flowjax_lite as fl
from flowjax_lite.cli.run import directory as run
from flowjax_lite.cli.run.experiment import load_data
from flowjax_lite.continuous import AbstractDivergence, ContinuousFlow, Hutchinson, HutchPlusPlus

ROWS, KEYS = 100, 50
ESTIMATES: dict[str, AbstractDivergence] = {
    "Hutchinson, 1 sign probe": Hutchinson(1),
    "Hutchinson, 1 Gaussian probe": Hutchinson(1, "gaussian"),
    "Hutchinson, 4 sign probes": Hutchinson(4),
    "Hutchinson, 16 sign probes": Hutchinson(16),
    "Hutch++, 4 directions, 4 probes": HutchPlusPlus(4),
    "Hutch++, 16 directions, 16 probes": HutchPlusPlus(16),
}
HEADER = ["trace", "standard deviation, nats", "mean less exact, nats", "ms a batch"]
TEXT = f"""\
Log-densities of {ROWS} test rows of the digits, 64 numbers each, under the FFJORD that
`families.py` trains, with {KEYS} keys. The standard deviation is that of the
estimates of one row, on average; the mean over all rows and keys is given with its standard error.
One probe is an unbiased estimate, enough for a gradient. It is not a likelihood to report:
`log_prob` without a key has an exact trace."""


def estimating(flow: fl.Flow, divergence: AbstractDivergence) -> fl.Flow:
    """A copy whose trace is estimated in another way."""
    copy = jax.tree.map(lambda leaf: leaf, flow)
    for node in jax.tree.leaves(copy, is_leaf=lambda node: isinstance(node, ContinuousFlow)):
        if isinstance(node, ContinuousFlow):
            node.divergence = divergence
    return copy


@jax.jit
def log_prob(flow: fl.Flow, x: Array, key: Array | None) -> Array:
    """Of all rows."""
    return flow.log_prob(x, key=key)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("runs/families/ffjord/ffjord"))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    trained = run.read(arguments.run)
    flow, x = trained.flow, load_data(trained.config.data).test.x[:ROWS]
    exact = np.asarray(log_prob(flow, x, None))
    lines, keys = [], jax.random.split(jax.random.key(0), KEYS)
    for name, divergence in ESTIMATES.items():
        other = estimating(flow, divergence)
        log_prob(other, x, keys[0]).block_until_ready()
        start = time.perf_counter()
        estimates = np.stack([log_prob(other, x, key) for key in keys])
        seconds = (time.perf_counter() - start) / KEYS
        difference = (estimates - exact).mean(axis=0)
        error = difference.std() / np.sqrt(ROWS)
        lines.append(
            [
                name,
                f"{estimates.std(axis=0).mean():.3f}",
                f"{difference.mean():+.4f} ± {error:.4f}",
                f"{1e3 * seconds:.0f}",
            ]
        )
    start = time.perf_counter()
    log_prob(flow, x, None).block_until_ready()
    lines.append(["exact", "0", "0", f"{1e3 * (time.perf_counter() - start):.0f}"])
    path = arguments.results / "continuous_estimates.md"
    text = f"# Estimated traces\n\n{TEXT}\n\n{markdown_table(HEADER, lines)}\n\n"
    path.write_text(text + environment(("jax", "jaxlib", "flax", "diffrax")) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
