"""Continuous flows on densities of two and of eight numbers, beside discrete flows.

    python benchmarks/continuous_densities.py
    python benchmarks/continuous_densities.py --densities pinwheel

Discrete flows and FFJORD are trained by likelihood, CNF by flow matching, with both couplings.
The picture shows each density, and particles on their way from the base to the data.

Flows are kept below --out with what was measured of them, so a long benchmark can be continued; the
table and the picture show all that are there. On a GPU it takes minutes, on two cores an hour.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import environment, markdown_table, sharp_log_prob
from flax import nnx
from jax import Array
from matplotlib.figure import Figure

import flowjax_lite as fl
from flowjax_lite.continuous import ContinuousFlow, with_solver
from flowjax_lite.diagnostics import ways

PLANE = ("eight_gaussians", "checkerboard", "two_spirals", "pinwheel")
TOGETHER = "all four, 8 numbers"  # independent of each other, side by side
DENSITIES = (*PLANE, TOGETHER)
ROWS, BATCH, PARTICLES, GRID = 25_000, 250, 1500, 120
NUM_SHARP = 500  # test rows whose density is also found in float64
TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Recipe:
    """A flow and its training.

    Attributes:
        make: the named flow.
        settings: of the flow.
        epochs: passes over the training rows.
        training: other settings of `fit`.
    """

    make: Callable[..., fl.Flow]
    epochs: int
    settings: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


DISCRETE = {"num_layers": 8, "hidden": (64, 64)}
# In training eight steps of a constant size; the trained flow is solved to the default tolerance.
FIXED = {"hidden": (64, 64, 64), "divergence": "exact", "num_steps": 8}
MATCHED = {"hidden": (256, 256, 256)}
RECIPES = {
    "nsf_coupling": Recipe(fl.flows.nsf_coupling, 40, DISCRETE),
    "nsf_autoregressive": Recipe(fl.flows.nsf_autoregressive, 40, DISCRETE),
    "ffjord": Recipe(fl.flows.ffjord, 40, FIXED, {"learning_rate": 5e-3}),
    "cnf, flow matching": Recipe(
        fl.flows.cnf,
        600,
        MATCHED,
        {"learning_rate": 3e-3, "loss": fl.flow_matching(), "batch_size": 1000, "ema": 0.999},
    ),
    "cnf, optimal transport": Recipe(
        fl.flows.cnf,
        200,
        MATCHED,
        {"learning_rate": 2e-3, "loss": fl.flow_matching(coupling="optimal_transport")},
    ),
}
HEADER = [
    "density, flow",
    "test log-likelihood, nats",
    "training s",
    "evaluations",
    "error of log p",
    "round trip",
    "4 steps: distance",
]
TEXT = f"""\
{ROWS:,} rows, of which a tenth each validates and tests; standard errors of the test rows in the
second column. Discrete flows have 8 layers with networks (64, 64), FFJORD a network (64, 64, 64),
exact traces and eight constant steps of the solver in training; 40 epochs each. CNF, a residual
network (256, 256, 256), solves no equation in training: 600 epochs in batches of 1000 and a moving
average of the parameters by flow matching, 200 epochs by optimal transport, whose pairs take time
that grows with the cube of the batch. Batches of {BATCH} but for the first of these.
Seconds are to be read in their order of size: other work ran beside.
What is reported is solved to the default tolerance, 1e-7.

`evaluations` of the velocity for one log-density, on average and at most over the test rows.
`error of log p`: mean and largest difference, in nats, from float64 with a tolerance of 1e-11, of
{NUM_SHARP} test rows.
`round trip`: the largest difference of an entry from the data to the latent and back, in units of
the data's scale. `4 steps`: the mean distance, in the same units, of samples by four steps of the
midpoint method (8 evaluations) from those by the default solver."""


@jax.jit
def round_trip(flow: fl.Flow, x: Array) -> Array:
    """The difference of each entry."""
    return jax.vmap(lambda x: flow.bijector.forward(flow.bijector.inverse(x)) - x)(x)


def measure(flow: fl.Flow, x: np.ndarray, scale: np.ndarray) -> list[str]:
    """The columns that only continuous flows have."""
    count = np.asarray(ways(flow, x).num_evaluations)
    few = x[:NUM_SHARP]
    error = np.abs(sharp_log_prob(flow, few) - np.asarray(flow.log_prob(few)))
    key, fast = jax.random.key(0), with_solver(flow, method="midpoint", num_steps=4)
    moved = (fast.sample(key, (2000,)) - flow.sample(key, (2000,))) / scale
    return [
        f"{count.mean():.0f} / {count.max()}",
        f"{error.mean():.0e} / {error.max():.0e}",
        f"{np.abs(round_trip(flow, x) / scale).max():.0e}",
        f"{np.linalg.norm(moved, axis=1).mean():.3f}",
    ]


def load(name: str) -> list[np.ndarray]:
    """Rows to train, to validate and to test on."""
    names = PLANE if name == TOGETHER else (name,)
    parts = [fl.data.load(part, num=ROWS, seed=seed) for seed, part in enumerate(names)]
    splits = ("train", "validation", "test")
    return [np.concatenate([getattr(p, split).x for p in parts], axis=1) for split in splits]


def train(recipe: Recipe, rows: np.ndarray, validation: np.ndarray) -> tuple[fl.Flow, float]:
    """The trained flow, and the seconds that it took."""
    data_map = fl.bijectors.Standardize.from_data(rows)
    flow = recipe.make(dim=rows.shape[1], data_map=data_map, rngs=nnx.Rngs(0), **recipe.settings)
    start = time.perf_counter()
    result = fl.fit(
        flow,
        rows,
        key=jax.random.key(0),
        validation=validation,
        max_epochs=recipe.epochs,
        patience=None,
        progress=False,
        **{"batch_size": BATCH} | recipe.training,
    )
    seconds, flow = time.perf_counter() - start, result.flow
    return (with_solver(flow, num_steps=None) if "num_steps" in recipe.settings else flow), seconds


def study(density: str, label: str, directory: Path) -> None:
    """Train and measure one flow, and keep both."""
    rows, validation, x = load(density)
    flow, seconds = train(RECIPES[label], rows, validation)
    log_prob = np.asarray(flow.log_prob(x))
    error = log_prob.std() / np.sqrt(len(x))
    continuous = bool(fl.continuous.solvers(flow))
    rest = measure(flow, x, rows.std(axis=0)) if continuous else ["–"] * 4
    line = [f"{log_prob.mean():.3f} ± {error:.3f}", f"{seconds:.0f}", *rest]
    versions = environment(("jax", "jaxlib", "flax", "optax", "diffrax", "scipy"))
    directory.mkdir(parents=True, exist_ok=True)
    fl.save(directory / f"{label}.safetensors", flow)
    (directory / f"{label}.json").write_text(json.dumps({"line": line, "environment": versions}))
    print(f"{density}: {label}", *line, sep="  ", flush=True)


def write(out: Path, results: Path) -> None:
    """The table of all flows that are there, and the picture of those that all densities have."""
    lines, versions = [], []
    for density in DENSITIES:
        for label in RECIPES:
            path = out / density / f"{label}.json"
            if path.exists():
                found = json.loads(path.read_text())
                lines.append([f"{density}: {label}", *found["line"]])
                versions.append(found["environment"])
    text = f"# Continuous flows on simple densities\n\n{TEXT}\n\n{markdown_table(HEADER, lines)}"
    machines = "\n\n".join(dict.fromkeys(versions))
    (results / "continuous_densities.md").write_text(f"{text}\n\n{machines}\n")
    paths = {label: [out / name / f"{label}.safetensors" for name in PLANE] for label in RECIPES}
    shown = [label for label, files in paths.items() if all(file.exists() for file in files)]
    if shown:
        flows = {n: {s: fl.load(out / n / f"{s}.safetensors") for s in shown} for n in PLANE}
        draw(flows).savefig(results / "continuous_densities.png", dpi=110)


def particles(flow: fl.Flow) -> np.ndarray:
    """Samples on their way, (times, particles, 2): the map to the data's units stays the same."""
    z = jax.random.normal(jax.random.key(0), (PARTICLES, 2))
    ode, data_map = fl.bijectors.unrolled(flow.bijector)
    assert isinstance(ode, ContinuousFlow)
    paths = jax.jit(jax.vmap(lambda z: ode.trajectory(z, jnp.array(TIMES))))(z)
    return np.swapaxes(jax.vmap(jax.vmap(data_map.forward))(paths), 0, 1)


def density(flow: fl.Flow, end: float) -> np.ndarray:
    """On a grid over the square [-end, end]², as precise as a picture is."""
    if fl.continuous.solvers(flow):
        flow = with_solver(flow, rtol=1e-3, atol=1e-3)
    points = np.linspace(-end, end, GRID, dtype=np.float32)
    grid = np.stack(np.meshgrid(points, points), axis=-1).reshape(-1, 2)
    log_prob = [flow.log_prob(rows) for rows in np.array_split(grid, 8)]
    return np.exp(np.concatenate(log_prob)).reshape(GRID, GRID)


def draw(flows: dict[str, dict[str, fl.Flow]]) -> Figure:
    """For each density the data, all flows, and particles of the last one along time."""
    num_flows = len(flows[PLANE[0]])
    columns = 1 + num_flows + len(TIMES)
    figure = Figure(figsize=(1.9 * columns, 2.1 * len(flows)), layout="constrained")
    panels = figure.subplots(len(flows), columns, squeeze=False)
    for line, (name, trained) in zip(panels, flows.items(), strict=True):
        x = load(name)[-1]
        end = 1.15 * np.abs(x).max()
        for axes in line:
            axes.set(xticks=[], yticks=[], xlim=(-end, end), ylim=(-end, end), aspect="equal")
        line[0].set(title="data", ylabel=name.replace("_", " "))
        line[0].scatter(*x[:PARTICLES].T, s=0.5, color="black")
        for axes, (label, flow) in zip(line[1:], trained.items(), strict=False):  # then particles
            image = density(flow, end)
            top = np.quantile(image, 0.998)
            axes.imshow(image, extent=(-end, end) * 2, origin="lower", cmap="magma", vmax=top)
            axes.set_title(label, fontsize="medium")
        path = particles(list(trained.values())[-1])
        for axes, at, points in zip(line[1 + num_flows :], TIMES, path, strict=True):
            axes.scatter(*points.T, s=0.5, color="tab:blue")
            axes.set(title=f"particles, t = {at:g}")
    return figure


def main() -> None:
    """Train what is missing, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--densities", nargs="*", choices=DENSITIES, default=DENSITIES)
    parser.add_argument("--flows", nargs="*", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--out", type=Path, default=Path("runs/densities"))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    for density in arguments.densities:
        for label in arguments.flows:
            if not (arguments.out / density / f"{label}.json").exists():
                study(density, label, arguments.out / density)
    write(arguments.out, arguments.results)


if __name__ == "__main__":
    main()
