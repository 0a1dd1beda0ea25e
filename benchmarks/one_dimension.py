"""One number: bases and constructions on a density with two skewed modes.

    python benchmarks/one_dimension.py

In one dimension the increasing map from a base to a density is unique, x = F⁻¹(F_base(z)), so
that what a flow learned can be laid over what it should have learned. Spline flows with three
bases are compared with a mixture of normals, once as a base of its own and once as the
inverse-CDF construction from a standard normal; both are the same family of densities.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from common import environment, markdown_table
from flax import nnx
from matplotlib.figure import Figure
from scipy import stats

import flowjax_lite as fl
from flowjax_lite.bijectors import Chain, GaussianMixtureCDF, Invert, NormalCDF, Standardize
from flowjax_lite.distributions import Beta, GaussianMixture, StandardNormal, Uniform

ROWS, EPOCHS, COMPONENTS = 20_000, 40, 8
WEIGHTS = (0.6, 0.4)
PARTS = (stats.skewnorm(6, loc=-3.0, scale=1.2), stats.gumbel_r(loc=1.0, scale=0.5))
X = np.linspace(-4.5, 5.5, 1000)
COLOURS = {"normal": "#0072B2", "Uniform": "#D55E00", "Beta": "#009E73"}
MIXTURE = "#CC79A7"
BASES = {
    "normal": (stats.norm, lambda: None),
    "Uniform": (stats.uniform, lambda: Uniform(1)),
    "Beta": (stats.beta(2, 5), lambda: Beta(1, alpha=2.0, beta=5.0)),
}


def density(x: np.ndarray) -> np.ndarray:
    """The true density."""
    return sum(w * part.pdf(x) for w, part in zip(WEIGHTS, PARTS, strict=True))


def distribution(x: np.ndarray) -> np.ndarray:
    """The true distribution function."""
    return sum(w * part.cdf(x) for w, part in zip(WEIGHTS, PARTS, strict=True))


def draw_rows(num: int, seed: int) -> np.ndarray:
    """Samples, (num, 1)."""
    rng = np.random.default_rng(seed)
    first = rng.random(num) < WEIGHTS[0]
    values = (part.rvs(num, random_state=rng) for part in PARTS)
    return np.where(first, *values).astype(np.float32)[:, None]


def gaussian(standardize: Standardize) -> fl.Flow:
    """The best normal distribution: that of the data's mean and deviation."""
    return fl.Flow(StandardNormal(1), standardize)


def spline_flow(standardize: Standardize, base: str) -> fl.Flow:
    """Two layers; with no entry before the only one, their networks emit constants."""
    return fl.flows.nsf_autoregressive(
        dim=1,
        num_layers=2,
        hidden=(8,),
        bound=4.0,
        base=BASES[base][1](),
        data_map=standardize,
        rngs=nnx.Rngs(0),
    )


def inverse_cdf(standardize: Standardize) -> fl.Flow:
    """A normal's distribution function, and the inverse of a mixture's."""
    cdf = GaussianMixtureCDF(1, num_components=COMPONENTS, rngs=nnx.Rngs(0))
    return fl.Flow(StandardNormal(1), Chain([NormalCDF(1), Invert(cdf), standardize]))


def mixture(standardize: Standardize) -> fl.Flow:
    """A mixture of normals as the base of a flow that does nothing else."""
    return fl.Flow(GaussianMixture(1, num_components=COMPONENTS, rngs=nnx.Rngs(0)), standardize)


MODELS: dict[str, Callable[[Standardize], fl.Flow]] = {
    **{f"nsf_autoregressive, {base} base": partial(spline_flow, base=base) for base in BASES},
    f"inverse CDF, {COMPONENTS} normals": inverse_cdf,
    f"GaussianMixture base, {COMPONENTS} normals": mixture,
}


def row(name: str, values: np.ndarray, true: np.ndarray, *cells: str) -> list[str]:
    """A line of the table, from log-likelihoods of each test row."""

    def mean(numbers: np.ndarray) -> str:
        return f"{numbers.mean():.4f} ± {numbers.std() / np.sqrt(len(numbers)):.4f}"

    return [name, mean(values), mean(true - values), *cells]


def draw(flows: dict[str, fl.Flow]) -> Figure:
    """All densities above; the map from each base below."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    above, below = figure.subfigures(2, 1)
    axes = above.subplots()
    axes.fill_between(X, density(X), color="0.85", label="true density")
    colours = [*COLOURS.values(), MIXTURE]
    # The last of the flows has the density of the one before.
    for (name, flow), colour in zip(flows.items(), colours, strict=False):
        curve = np.exp(jax.jit(flow.log_prob)(jnp.asarray(X[:, None], jnp.float32)))
        axes.plot(X, curve, color=colour, linewidth=1.2, label=name)
    axes.set(xlabel="x", ylabel="density", xlim=(X[0], X[-1]), ylim=0)
    axes.legend(frameon=False)
    u = distribution(X)
    inner = (u > 1e-4) & (u < 1 - 1e-4)
    panels = below.subplots(1, len(BASES), sharey=True)
    for axes, (base, (scipy_base, _)) in zip(panels, BASES.items(), strict=True):
        z = scipy_base.ppf(u[inner])
        axes.plot(z, X[inner], color="0.8", linewidth=5, label="exact map")
        drawn = {f"nsf_autoregressive, {base} base": COLOURS[base]}
        if base == "normal":
            drawn[f"inverse CDF, {COMPONENTS} normals"] = MIXTURE
        for name, colour in drawn.items():
            x = jax.jit(jax.vmap(flows[name].bijector.forward))(jnp.asarray(z[:, None]))
            axes.plot(z, x[:, 0], color=colour, linewidth=1.2)
        axes.set(xlabel=f"z, {base} base")
    panels[0].set(ylabel="x")
    panels[0].legend(frameon=False)
    for axes in (above.axes[0], *panels):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    """Train all flows, and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    train, test = draw_rows(ROWS, 0), draw_rows(ROWS, 1)
    true = np.log(density(test[:, 0]))
    standardize = Standardize.from_data(train)
    rows = [row("true density", true, true, "", "")]
    values = np.asarray(gaussian(standardize).log_prob(test))
    rows.append(row("Gaussian", values, true, "2", ""))
    flows = {}
    for name, make in MODELS.items():
        start = time.perf_counter()
        flow = make(standardize)
        flows[name] = fl.fit(
            flow,
            train,
            key=jax.random.key(0),
            learning_rate=2e-2,
            batch_size=512,
            max_epochs=EPOCHS,
            progress=False,
        ).flow
        seconds = time.perf_counter() - start
        values = np.asarray(jax.jit(lambda flow: flow.log_prob(test))(flows[name]))
        size = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(flow, nnx.Param)))
        rows.append(row(name, values, true, str(size), f"{seconds:.1f}"))
        print(*rows[-1], flush=True)
    header = ["", "log-likelihood", "below the true density", "parameters", "training s"]
    text = "\n".join(
        [
            "# One dimension: bases and constructions",
            "",
            markdown_table(header, rows),
            "",
            f"Nats on {ROWS:,} test rows ± one standard error; the differences are taken row by "
            f"row, so they estimate KL(true || model). The target is "
            f"{WEIGHTS[0]} × a skew normal and {WEIGHTS[1]} × a Gumbel distribution; "
            f"{ROWS:,} training rows, at most {EPOCHS} epochs; seconds include compilation. Both "
            f"mixtures are one family of densities. The settings of the splines were "
            f"chosen among seven by these numbers. The picture has the densities, and below the "
            f"learned maps on the exact ones.",
            "",
            environment(),
            "",
        ]
    )
    print(text)
    (arguments.results / "one_dimension.md").write_text(text)
    draw(flows).savefig(arguments.results / "one_dimension.png", dpi=150)


if __name__ == "__main__":
    main()
