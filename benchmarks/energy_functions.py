"""Planar flows on the four energy functions of Rezende and Mohamed, 2015 (arXiv:1505.05770).

    python benchmarks/energy_functions.py
    python benchmarks/energy_functions.py --flow realnvp --layers 4 --steps 500 --results /tmp

A flow of 2, 8 or 32 layers is fitted to a density exp(-U) of two numbers by its own samples, with
`fl.reverse_kl` and no data. Figure 3 of the paper is drawn again, and each divergence is measured
against the normalising constant, which a sum over a grid gives to many digits.
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from common import environment, markdown_table, train_on_samples
from flax import nnx
from jax import Array
from matplotlib.figure import Figure

import flowjax_lite as fl

SAMPLES, EVALUATION = 256, 100_000
# Flows that have no network where there is no condition.
AMORTIZED = ("planar", "radial", "sylvester", "gaussianization")
VIEW = 4.0  # the square that the paper shows
TARGETS = tuple(fl.inference.targets.RezendeMohamed(potential) for potential in (1, 2, 3, 4))


def grid(size: int, end: float) -> Array:
    """Centres of the cells that the square [-end, end]² is cut into, (size, size, 2)."""
    centres = end * ((jnp.arange(size) + 0.5) / size * 2 - 1)
    return jnp.stack(jnp.meshgrid(centres, centres), axis=-1)


@functools.partial(jax.jit, static_argnames=("target",))
def divergence(flow: fl.Flow, key: Array, *, target: Callable[[Array], Array]) -> Array:
    """log q - log p, not normalised, of many samples."""
    z, log_q = flow.sample_and_log_prob(key, (EVALUATION,))
    return log_q - jax.vmap(target)(z)


def draw(pictures: list[list[tuple[str, np.ndarray]]]) -> Figure:
    """A row of densities on the paper's square for each potential."""
    rows, columns = len(pictures), len(pictures[0])
    figure = Figure(figsize=(2.3 * columns, 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for row, densities in zip(panels, pictures, strict=True):
        for axes, (title, density) in zip(row, densities, strict=True):
            axes.imshow(density, extent=(-VIEW, VIEW) * 2, origin="lower", cmap="magma", vmin=0)
            axes.set(title=title, xticks=[], yticks=[])
    return figure


def main() -> None:
    """Train all flows, and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flow", choices=fl.flows.NAMED, default="planar")
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    view = grid(200, VIEW)
    log_prob = jax.jit(lambda flow: flow.log_prob(view))
    pictures: list[list[tuple[str, np.ndarray]]] = []
    rows = []
    for number, target in enumerate(TARGETS, start=1):
        constant = target.log_normalizer
        exact = np.exp(jax.vmap(jax.vmap(target))(view) - constant)
        pictures.append([(f"potential {number}", exact)])
        row = [f"U{number}", f"{constant:.4f}"]
        for layers in arguments.layers:
            make = fl.flows.NAMED[arguments.flow]
            networks = {} if arguments.flow in AMORTIZED else {"hidden": (32, 32)}
            flow = make(dim=2, num_layers=layers, rngs=nnx.Rngs(0), **networks)
            loss = fl.reverse_kl(target, num_samples=SAMPLES)
            settings = {"loss": loss, "steps": arguments.steps, "learning_rate": 5e-3}
            flow, _ = train_on_samples(flow, jax.random.key(0), **settings)
            values = np.asarray(divergence(flow, jax.random.key(1), target=target)) + constant
            error = values.std() / np.sqrt(len(values))
            row.append(f"{values.mean():.4f} ± {error:.4f}")
            print(f"U{number}, {layers} layers: KL {row[-1]}", flush=True)
            title = f"{layers} layers, KL {values.mean():.3f}"
            pictures[-1].append((title, np.exp(log_prob(flow))))
        rows.append(row)
    header = ["potential", "log Z", *(f"KL, {layers} layers" for layers in arguments.layers)]
    text = "\n".join(
        [
            f"# Energy functions: {arguments.flow}",
            "",
            markdown_table(header, rows),
            "",
            f"KL(q || exp(-U) / Z) in nats, from {EVALUATION:,} samples of the flow q ± one "
            f"standard error; log Z from a sum over a grid. Potentials of table 1 of Rezende and "
            f"Mohamed, 2015, with a wall around the square [-4, 4]² that the picture shows. "
            f"{arguments.steps:,} steps of Adam on {SAMPLES} samples each.",
            "",
            environment(),
            "",
        ]
    )
    print(text)
    (arguments.results / "energy_functions.md").write_text(text)
    draw(pictures).savefig(arguments.results / "energy_functions.png", dpi=150)


if __name__ == "__main__":
    main()
