"""Integrals by a flow as proposal, beside vegas, with equal numbers of evaluations.

    pip install "flowjax-lite[bench]"
    python benchmarks/neural_importance_sampling.py
    python benchmarks/neural_importance_sampling.py --evaluations 20000 --results /tmp

A third of the evaluations, about, trains the flow by `fl.forward_kl`, and the others estimate the
integral; all of vegas's adapt and estimate, in ten iterations. The camel has two peaks on the
diagonal of the square, the peak is one narrow normal in four dimensions; the domain is the unit
cube.
"""

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gvar
import jax.numpy as jnp
import numpy as np
import vegas
from common import environment, markdown_table
from flax import nnx
from jax import Array
from scipy.special import erf
from scipy.stats import qmc

import flowjax_lite as fl

BATCH, LEARNING_RATE, REPEATS = 64, 1e-2, 20
SCALES = {"camel": 0.2, "peak": 0.1}


def one_peak(x: Any, centre: float, scale: float, xp: Any) -> Any:
    """A normalised normal density of variance scale² / 2 around a point of the diagonal."""
    constant = (scale * math.sqrt(math.pi)) ** -x.shape[-1]
    return constant * xp.exp(-xp.sum((x - centre) ** 2, axis=-1) / scale**2)


def camel(x: Any, xp: Any = jnp) -> Any:
    """Two peaks of equal weight, in the plane."""
    left, right = (one_peak(x, centre, SCALES["camel"], xp) for centre in (1 / 3, 2 / 3))
    return 0.5 * (left + right)


def peak(x: Any, xp: Any = jnp) -> Any:
    """One peak in four dimensions."""
    return one_peak(x, 0.5, SCALES["peak"], xp)


def mass(centre: float, scale: float, dim: int) -> float:
    """The part of a peak that lies in the unit cube."""
    return float(0.5 * (erf((1 - centre) / scale) + erf(centre / scale))) ** dim


INTEGRANDS: dict[str, tuple[Callable[..., Any], int, float]] = {
    "camel": (camel, 2, mass(1 / 3, SCALES["camel"], 2)),  # both peaks lose as much
    "peak": (peak, 4, mass(0.5, SCALES["peak"], 4)),
}


class LogOf(NamedTuple):
    """The logarithm of an integrand, a log target; equal ones are equal."""

    integrand: Callable[..., Array]

    def __call__(self, x: Array) -> Array:
        """The logarithm at one point."""
        return jnp.log(self.integrand(x))


def by_flow(name: str, evaluations: int, seed: int) -> tuple[fl.Flow, float]:
    """A flow on the unit cube that was trained with so many evaluations, and its seconds."""
    integrand, dim, _ = INTEGRANDS[name]
    spline = fl.transformers.UnitSpline(num_bins=16)
    network = fl.conditioners.MADE(
        dim, num_params=spline.num_params, hidden=(32, 32), activation="silu", rngs=nnx.Rngs(seed)
    )
    layer = fl.bijectors.MaskedAutoregressive(spline, network)
    flow = fl.Flow(fl.distributions.Uniform(dim), layer)
    begin = time.perf_counter()
    loss = fl.forward_kl(LogOf(integrand), num_samples=BATCH)
    settings: dict[str, Any] = {"learning_rate": LEARNING_RATE, "progress": False}
    steps = evaluations // BATCH
    flow = fl.fit_density(flow, loss, key=seed, num_steps=steps, num_epochs=1, **settings).flow
    return flow, time.perf_counter() - begin


def estimates(flow: fl.Flow, name: str, num: int, *, even: bool) -> tuple[np.ndarray, float]:
    """Estimates of an integral by so many samples each, and the variance of one sample.

    Args:
        flow: the proposal.
        name: of the integrand.
        num: samples of an estimate.
        even: latents from Sobol's points, scrambled, in place of independent ones; num is then
            a power of two.
    """
    integrand, dim, exact = INTEGRANDS[name]
    values, variances = [], []
    for seed in range(REPEATS):
        if even:
            u = qmc.Sobol(dim, rng=seed).random(num)
        else:
            u = np.random.default_rng(seed).random((num, dim))
        x, log_det = flow.to_data(jnp.asarray(u, jnp.float32))
        weights = np.asarray(integrand(x), np.float64) * np.exp(np.asarray(log_det, np.float64))
        values.append(weights.mean() / exact)
        variances.append(weights.var() / exact**2)
    return np.array(values), float(np.mean(variances))


def by_vegas(name: str, evaluations: int, *, stratified: bool) -> tuple[np.ndarray, float]:
    """Estimates of vegas, and the variance that one evaluation would have."""
    integrand, dim, exact = INTEGRANDS[name]
    # Without strata it is the algorithm of 1978's importance sampling alone.
    settings: dict[str, Any] = {} if stratified else {"nstrat": [1] * dim}
    values, used = [], 0
    for seed in range(REPEATS):
        gvar.ranseed(seed)
        integrator = vegas.Integrator([[0.0, 1.0]] * dim)
        function = vegas.lbatchintegrand(lambda x: integrand(x, np))
        result = integrator(function, nitn=10, neval=evaluations // 10, **settings)
        values.append(result.mean / exact)
        used = result.sum_neval
    return np.array(values), float(np.mean((np.array(values) - 1) ** 2) * used)


def main() -> None:
    """Compare on both integrands, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evaluations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    # Sobol's points come by powers of two.
    num = 2 ** int(math.log2(0.7 * arguments.evaluations))
    rows = []
    for name, (_, dim, _) in INTEGRANDS.items():
        flow, seconds = by_flow(name, arguments.evaluations - num, arguments.seed)
        for even in (False, True):
            values, variance = estimates(flow, name, num, even=even)
            error = math.sqrt(np.mean((values - 1) ** 2))
            method = "flow, Sobol's points" if even else "flow, independent samples"
            of_one = "–" if even else f"{variance:.2e}"
            rows.append([f"{name}, {dim}-D", method, of_one, f"{error**2:.2e}", f"{error:.1e}"])
        for stratified in (False, True):
            values, variance = by_vegas(name, arguments.evaluations, stratified=stratified)
            error = math.sqrt(np.mean((values - 1) ** 2))
            method = "vegas, with strata" if stratified else "vegas, importance sampling alone"
            of_one = "–" if stratified else f"{variance:.2e}"
            rows.append([f"{name}, {dim}-D", method, of_one, f"{error**2:.2e}", f"{error:.1e}"])
        print(*rows[-4:], f"trained in {seconds:.0f} s", sep="\n", flush=True)
    header = ["integrand", "method", "of one sample", "of the estimate", "error"]
    text = "\n".join(
        [
            "# Neural importance sampling beside vegas",
            "",
            markdown_table(header, rows),
            "",
            "Variances relative to the square of the integral, and the root of that of the "
            f"estimate: squared errors against the exact value, the mean of {REPEATS} runs. Each "
            f"method has {arguments.evaluations:,} evaluations of the integrand in all. The flow "
            f"spends {arguments.evaluations - num:,} of them on its training, once, and {num:,} on "
            "each estimate; the variance of one sample is that of its weights. vegas spends all in "
            "ten iterations, which adapt and estimate; the variance of one sample is that of the "
            "estimate times the evaluations.",
            "",
            "One setting for both: one autoregressive layer of `UnitSpline` with 16 bins and a "
            f"network of 32 and 32 units on a uniform base; `forward_kl` with {BATCH} samples a "
            f"step, AdamW at {LEARNING_RATE}. Strata and Sobol's points lower the error of smooth "
            "functions beyond that of independent samples, so like stands beside like: independent "
            "samples beside vegas without strata, and Sobol's points beside vegas with them.",
            "",
            environment(("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "vegas")),
            "",
        ]
    )
    print(text)
    (arguments.results / "neural_importance_sampling.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
