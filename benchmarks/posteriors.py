"""Posteriors of four models of posteriordb by one flow with one setting, beside reference draws.

    python benchmarks/posteriors.py --data-dir data
    python benchmarks/posteriors.py --data-dir data --models garch --steps 500 --results /tmp

A flow begins at the mode and the curvature of each posterior (`inference.laplace`) and is fitted by
its own samples alone (`fl.reverse_kl` with path gradients). Pareto-smoothed importance sampling
says whether it can be trusted, and the reference draws, of long runs of Stan, whether it may.
`--data-dir` holds posteriordb/NAME/data.json and reference_draws.npz (names, draws).
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import environment, markdown_table
from flax import nnx
from matplotlib.figure import Figure

import flowjax_lite as fl
from flowjax_lite.inference import importance_sample, laplace, latent_log_density, targets

SAMPLES, LEARNING_RATE, DRAWS, REPEATS = 64, 5e-3, 10_000, 3


def autoregression(data: Mapping[str, Any]) -> targets.AbstractPosterior:
    """A series of 200 values, five lags."""
    return targets.ARK(data["y"], data["K"])


def eight_schools(data: Mapping[str, Any]) -> targets.AbstractPosterior:
    """Not centred."""
    return targets.EightSchools(data["y"], data["sigma"])


def garch(data: Mapping[str, Any]) -> targets.AbstractPosterior:
    """A series of 200 values."""
    return targets.GARCH11(data["y"], data["sigma1"])


def kidscore(data: Mapping[str, Any]) -> targets.AbstractPosterior:
    """434 children."""
    return targets.KidScoreInteraction(data["kid_score"], data["mom_hs"], data["mom_iq"])


# By name: posteriordb's name, the model, and two parameters to draw.
MODELS: dict[str, tuple[str, Callable[..., targets.AbstractPosterior], tuple[str, str]]] = {
    "arK": ("arK-arK", autoregression, ("beta[1]", "beta[2]")),
    "eight_schools": ("eight_schools-eight_schools_noncentered", eight_schools, ("mu", "tau")),
    "garch": ("garch-garch11", garch, ("alpha0", "beta1")),
    "kidscore": ("kidiq-kidscore_interaction", kidscore, ("beta[2]", "beta[4]")),
}


def fitted(posterior: targets.AbstractPosterior, *, steps: int, seed: int) -> fl.Flow:
    """The same flow for every posterior: affine couplings, with heavy tails where they help."""
    log_p = latent_log_density(posterior.domains, posterior)
    start = laplace(log_p, jnp.zeros(posterior.dim))
    affine = fl.bijectors.Affine(posterior.dim)  # a mode may lie far from the mass
    tails = fl.bijectors.Independent(fl.transformers.SinhArcsinh(), posterior.dim)
    flow = fl.flows.realnvp(
        dim=posterior.dim,
        num_layers=6,
        hidden=(32, 32),
        base=fl.distributions.StudentT(posterior.dim, df=10.0),
        data_map=fl.bijectors.Chain([affine, tails, start, posterior.domains]),
        rngs=nnx.Rngs(seed),
    )
    loss = fl.reverse_kl(posterior, num_samples=SAMPLES, path_gradient=True)
    # The best epoch is chosen by the mean loss of its steps, which few epochs make precise.
    settings: dict[str, Any] = {"learning_rate": LEARNING_RATE, "num_epochs": 4, "progress": False}
    return fl.fit_density(flow, loss, key=seed, num_steps=steps, **settings).flow


def main() -> None:
    """Fit all posteriors, and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--models", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    rows, panels = [], []
    for name in arguments.models:
        folder, make, shown = MODELS[name]
        path = arguments.data_dir / "posteriordb" / folder
        posterior = make(json.loads((path / "data.json").read_text(encoding="utf-8")))
        with np.load(path / "reference_draws.npz") as file:
            order = [list(file["names"]).index(parameter) for parameter in posterior.names]
            reference = file["draws"].reshape(-1, len(order))[:, order]
        begin = time.perf_counter()
        flow = fitted(posterior, steps=arguments.steps, seed=arguments.seed)
        seconds = time.perf_counter() - begin
        results = [importance_sample(flow, posterior, seed, DRAWS) for seed in range(REPEATS)]
        shapes = [result.pareto_k for result in results]
        parameters = jax.jit(jax.vmap(posterior.parameters))
        drawn = np.asarray(parameters(results[0].samples), np.float64)
        mean, sd = reference.mean(axis=0), reference.std(axis=0)
        weighted = np.average(drawn, axis=0, weights=results[0].weights)
        spread = np.average((drawn - weighted) ** 2, axis=0, weights=results[0].weights) ** 0.5
        row = [
            posterior.dim,
            " / ".join(f"{shape:.2f}" for shape in shapes),
            f"{results[0].effective_sample_size / DRAWS:.3f}",
            f"{np.max(np.abs(drawn.mean(axis=0) - mean) / sd):.3f}",
            f"{np.max(np.abs(weighted - mean) / sd):.3f}",
            f"{100 * np.max(np.abs(spread / sd - 1)):.1f} %",
            f"{seconds:.0f}",
        ]
        rows.append([name, *map(str, row)])
        print(rows[-1], flush=True)
        again = np.asarray(parameters(results[0].resample(0, 2000)))
        columns = [posterior.names.index(parameter) for parameter in shown]
        panels.append((name, shown, reference[::5, columns], again[:, columns]))
    header = ["model", "dim", "k̂ of three draws", "ESS / n", "mean, flow", "mean, weighted"]
    text = "\n".join(
        [
            "# Posteriors of posteriordb",
            "",
            markdown_table([*header, "sd, weighted", "seconds"], rows),
            "",
            f"k̂: Pareto shape of the weights of {DRAWS:,} samples; below 0.7 they are reliable. "
            "Means: largest difference from the mean of the reference draws, of any parameter, in "
            "standard deviations of the posterior; 10,000 reference draws leave 0.01 of it to "
            "chance. Sd: the largest relative difference of a standard deviation.",
            "",
            "One setting for all: the Laplace start, six affine couplings with networks of 32 and "
            "32 units, an affine map and a `SinhArcsinh` of each entry, and a Student-t base, of "
            "ten degrees of freedom at first; `reverse_kl` with path gradients, "
            f"{arguments.steps:,} steps of {SAMPLES} samples, AdamW at {LEARNING_RATE}. Seed "
            f"{arguments.seed}; the settings were chosen with seeds 0 and 1. Seconds include "
            "compilation; other programs ran on the machine.",
            "",
            environment(),
            "",
        ]
    )
    print(text)
    (arguments.results / "posteriors.md").write_text(text, encoding="utf-8")
    draw(panels).savefig(arguments.results / "posteriors.png", dpi=110)


def draw(panels: list[tuple[str, tuple[str, str], np.ndarray, np.ndarray]]) -> Figure:
    """For each model two parameters: reference draws, and resampled ones of the flow."""
    figure = Figure(figsize=(3.4 * len(panels), 3.6), layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, shown, reference, drawn) in zip(row, panels, strict=True):
        axes.plot(*reference.T, ".", color="#7A7A7A", markersize=3, alpha=0.4, label="reference")
        axes.plot(*drawn.T, ".", color="#0072B2", markersize=3, alpha=0.4, label="flow")
        axes.set(title=name, xlabel=shown[0], ylabel=shown[1])
    row[0].legend(markerscale=3)
    return figure


if __name__ == "__main__":
    main()
