"""How often `gradient="invert"` gives a wrong gradient without NaN, and what the check costs.

    python benchmarks/reversible_gradients.py

Flows of random parameters, some of them far worse conditioned than trained ones, at events of 1, 10
and 100 standard deviations. A gradient by rebuilt inputs is compared with the stored one, by the
event and by the parameters; the larger relative error counts. Where the gradient itself jumps, at a
kink of an activation or a knot of a spline, the gradient on either side of it is right: an event
counts as wrong if the stored gradients of all events next to it, four roundings away in each entry,
disagree with it, too.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from common import environment, markdown_table, with_noise
from flax import nnx
from jax import Array

import flowjax_lite as fl

FAMILIES, SPREADS, SEEDS = ("realnvp", "nsf_coupling", "glow_1d"), (0.05, 0.1, 0.2), 3
EVENTS = {1: 1000, 10: 1000, 100: 1800}  # for each flow, by standard deviations
DIM, LAYERS, HIDDEN = 6, 8, (16,)
WRONG = 0.01
NUM_NEAR, NEAR = 200, 5e-7  # events next to one, and how far their entries are, relative to it
HEADER = ["flow, spread", "events", "wrong, not marked", "worst", "NaN at 1 σ", "10 σ", "100 σ"]
TEXT = """Random flows of 8 layers in 6 dimensions; spread is the standard deviation of the noise
added to each initial parameter. Wrong: off by more than 1 % of the stored gradient, and of those
of 200 events within four roundings of it, and not NaN. NaN is what the check says where an input
was not rebuilt to three quarters of its digits."""


def make_flow(family: str, gradient: str, spread: float, seed: int) -> fl.Flow:
    """A flow with noise on its parameters."""
    make = fl.flows.NAMED[family]
    settings = {"dim": DIM, "num_layers": LAYERS, "hidden": HIDDEN, "gradient": gradient}
    return with_noise(make(**settings, rngs=nnx.Rngs(seed)), spread, seed)


def gradients(flow: fl.Flow, x: Array) -> tuple[Array, Array]:
    """Of the log-density of one event, by the parameters and by the event."""
    graph, params, rest = nnx.split(flow, nnx.Param, ...)

    def log_prob(params: nnx.State, x: Array) -> Array:
        return nnx.merge(graph, params, rest).log_prob(x)

    by_params, by_event = jax.grad(log_prob, (0, 1))(params, x)
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(by_params)]), by_event


def error(actual: tuple[Array, Array], expected: tuple[Array, Array]) -> Array:
    """The larger of the two relative errors, with squares that do not overflow."""
    sizes = [jnp.max(jnp.abs(e)) + 1e-30 for e in expected]
    parts = zip(actual, expected, sizes, strict=True)
    return jnp.stack(
        [jnp.linalg.norm((a - e) / s) / (jnp.linalg.norm(e / s) + 1e-30) for a, e, s in parts]
    ).max()


@jax.jit
def errors(rebuilt: fl.Flow, stored: fl.Flow, x: Array, near: Array) -> Array:
    """The error of each event against the stored gradient of the event next to it."""

    def one(pair: tuple[Array, Array]) -> Array:
        return error(gradients(rebuilt, pair[0]), gradients(stored, pair[1]))

    return jax.lax.map(one, (x, near), batch_size=200)


def measure(family: str, spread: float) -> list[str]:
    """One line of the table."""
    distance = np.repeat(list(EVENTS), list(EVENTS.values()))
    wrong, worst, marked = 0, 0.0, []
    for seed in range(SEEDS):
        rebuilt, stored = (make_flow(family, g, spread, seed) for g in ("invert", "store"))
        normal = np.random.default_rng(seed).normal(size=(len(distance), DIM))
        x = jnp.asarray(normal * distance[:, None], jnp.float32)
        error = np.array(errors(rebuilt, stored, x, x))
        marked.append(np.isnan(error))
        for i in np.flatnonzero(error > WRONG):
            factors = np.random.default_rng(i).uniform(1 - NEAR, 1 + NEAR, (NUM_NEAR, DIM))
            same = jnp.tile(x[i], (NUM_NEAR, 1))
            beside = errors(rebuilt, stored, same, same * jnp.asarray(factors, x.dtype))
            error[i] = np.nanmin([error[i], *beside])
        wrong += int(np.sum(error > WRONG))
        worst = max(worst, float(np.nanmax(error)))
    lost = np.mean(marked, axis=0)
    return [
        f"{family}, {spread}",
        str(SEEDS * len(distance)),
        str(wrong),
        f"{worst:.2g}",
        *(f"{100 * lost[distance == d].mean():.1f} %" for d in EVENTS),
    ]


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    lines = []
    for family in FAMILIES:
        for spread in SPREADS:
            lines.append(measure(family, spread))
            print(*lines[-1], sep="  ", flush=True)
    total = [str(sum(int(line[i]) for line in lines)) for i in (1, 2)]
    lines.append(["all", *total, "", "", "", ""])
    table = f"# Gradients by rebuilt inputs\n\n{TEXT}\n\n{markdown_table(HEADER, lines)}"
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "reversible_gradients.md").write_text(f"{table}\n\n{environment()}\n")


if __name__ == "__main__":
    main()
