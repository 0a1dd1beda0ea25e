"""How time, compile time and memory grow with depth, dimension and batch.

    pip install "flowjax-lite[plot]"
    python benchmarks/scaling.py                # tables on the screen
    python benchmarks/scaling.py --out benchmarks/results/scaling.md
    python benchmarks/scaling.py --parts depth memory

One thing grows at a time, everything else stays. Times are medians of interleaved runs, compile
times medians of three after a first compilation; read how they grow, not the milliseconds.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from common import environment, markdown_table
from flax import nnx
from scaling_picture import draw
from timing import interleaved

import flowjax_lite as fl
from flowjax_lite.bijectors import Chain, Coupling, Permutation, Repeat
from flowjax_lite.conditioners import MLP
from flowjax_lite.transformers import RationalQuadraticSpline

# One flow at one size: its times in milliseconds, its "compile" seconds, its bytes.
Numbers = dict[str, float]


class Part(NamedTuple):
    """One thing that grows.

    Attributes:
        title: of the section.
        one: what it is made of, in the singular.
        grows: the setting that takes the values.
        values: its sizes, ascending.
        small: the size that the last is compared with.
        fixed: the other settings; the number of layers is the flow's own unless given.
    """

    title: str
    one: str
    grows: str
    values: tuple[int, ...]
    small: int
    fixed: dict[str, Any]


PARTS = {
    "depth": Part(
        "Depth: D = 63, hidden (64,64), batch 512",
        "layer",
        "num_layers",
        (4, 8, 16, 32, 64, 128),
        8,
        {"dim": 63, "hidden": (64, 64), "batch": 512},
    ),
    "dim": Part(
        "Dimension: MAF 5×(256,256), RealNVP 8×(256,256), batch 64",
        "dimension",
        "dim",
        (8, 16, 32, 64, 128, 256, 512, 1024),
        8,
        {"hidden": (256, 256), "batch": 64},
    ),
    "batch": Part(
        "Batch: D = 8, MAF 5×(64,64), RealNVP 8×(64,64)",
        "event",
        "batch",
        (64, 256, 1024, 4096, 16384, 65536),
        64,
        {"dim": 8, "hidden": (64, 64)},
    ),
}
FLOWS = {"MAF": fl.flows.maf, "RealNVP": fl.flows.realnvp}

MEMORY = "memory"
MEMORY_DIM, MEMORY_HIDDEN, DEPTHS = 63, (64, 64), (8, 16, 32, 64)
# Batches, and the depths at which a step is timed: deep flows and large batches only compile.
MEMORY_BATCHES = {16384: DEPTHS[:1], 512: DEPTHS}
GRADIENTS = ("store", "recompute", "invert")


def spline_coupling(
    *, dim: int, num_layers: int, hidden: tuple[int, ...], gradient: str, rngs: nnx.Rngs
) -> fl.Flow:
    """RealNVP with rational-quadratic splines of 8 bins instead of shift and scale."""
    transformer, kept = RationalQuadraticSpline(num_bins=8), dim // 2

    def make_layer(rngs: nnx.Rngs) -> Chain:
        shape = (transformer.num_params, dim - kept)
        network = MLP(kept, out_shape=shape, hidden=hidden, rngs=rngs)
        return Chain([Coupling(transformer, network), Permutation.random(dim, rngs=rngs)])

    layers = Repeat(make_layer, num_layers, gradient=gradient, rngs=rngs)
    return fl.Flow(fl.distributions.StandardNormal(dim), layers)


MEMORY_FLOWS = {
    "affine coupling": fl.flows.realnvp,
    "RQ spline coupling": spline_coupling,
    "MAF": fl.flows.maf,
}


class Step:
    """An Adam step, compiled for one flow and one batch; a call takes the next step.

    Attributes:
        seconds: what tracing and compiling took.
        temp_bytes: what a step needs besides its state, which it overwrites, and its batch.
    """

    def __init__(self, flow: fl.Flow, x: jax.Array) -> None:
        optimizer = optax.adam(1e-4)
        step = jax.jit(fl.make_train_step(fl.negative_log_likelihood, optimizer), donate_argnums=0)
        self._x = x
        self._state = fl.TrainState.create(jax.tree.map(jnp.copy, flow), optimizer)
        start = time.perf_counter()
        self._compiled = step.lower(self._state, x).compile()
        self.seconds = time.perf_counter() - start
        self.temp_bytes = self._compiled.memory_analysis().temp_size_in_bytes

    def __call__(self) -> jax.Array:
        self._state, loss = self._compiled(self._state, self._x)
        return loss


def events(batch: int, dim: int) -> jax.Array:
    """A batch to train on."""
    return jax.random.normal(jax.random.key(0), (batch, dim))


def measure(
    make: Callable[..., fl.Flow], repeats: int, *, dim: int, batch: int, **settings: Any
) -> Numbers:
    """Times of one flow on one batch."""
    flow = make(dim=dim, rngs=nnx.Rngs(0), **settings)
    x, key = events(batch, dim), jax.random.key(1)
    steps = [Step(flow, x) for _ in range(3)]
    log_prob = jax.jit(lambda flow, x: flow.log_prob(x))
    sample = jax.jit(lambda flow, key: flow.sample(key, (batch,)))
    calls = {
        "log_prob": lambda: log_prob(flow, x),
        "step": steps[-1],
        "sample": lambda: sample(flow, key),
    }
    compile_seconds = statistics.median(step.seconds for step in steps)
    return {**interleaved(calls, repeats, jax.block_until_ready), "compile": compile_seconds}


def growth(part: Part, repeats: int) -> dict[str, dict[int, Numbers]]:
    """Numbers of each flow at each size."""
    return {
        name: {
            value: measure(make, repeats, **part.fixed, **{part.grows: value})
            for value in part.values
        }
        for name, make in FLOWS.items()
    }


def memory(make: Callable[..., fl.Flow], batch: int, repeats: int) -> dict[str, dict[int, Numbers]]:
    """Numbers of each gradient at each depth; "parameters" are their bytes."""
    result: dict[str, dict[int, Numbers]] = {gradient: {} for gradient in GRADIENTS}
    x = events(batch, MEMORY_DIM)
    for depth in DEPTHS:
        settings = {"dim": MEMORY_DIM, "hidden": MEMORY_HIDDEN, "num_layers": depth}
        flows = {name: make(gradient=name, rngs=nnx.Rngs(0), **settings) for name in GRADIENTS}
        steps = {name: Step(flow, x) for name, flow in flows.items()}
        for name, step in steps.items():
            parameters = jax.tree.leaves(nnx.state(flows[name], nnx.Param))
            result[name][depth] = {
                "bytes": step.temp_bytes,
                "parameters": sum(array.nbytes for array in parameters),
            }
        if depth in MEMORY_BATCHES[batch]:
            for name, ms in interleaved(steps, repeats, jax.block_until_ready).items():
                result[name][depth]["step"] = ms
    return result


def number(value: float) -> str:
    """Three significant digits without an exponent."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def growth_section(part: Part, flows: dict[str, dict[int, Numbers]]) -> Iterable[str]:
    """A table for each flow, and how its compile time grows."""
    yield f"## {part.title}"
    header = ["log_prob ms", "step ms", "sample ms", "÷ log_prob", f"step µs ÷ {part.one}s"]
    for name, sizes in flows.items():
        rows = [
            [
                str(size),
                number(ms["log_prob"]),
                number(ms["step"]),
                number(ms["sample"]),
                number(ms["sample"] / ms["log_prob"]),
                number(1e3 * ms["step"] / size),
                number(ms["compile"]),
            ]
            for size, ms in sizes.items()
        ]
        yield markdown_table([f"{name}, {part.one}s", *header, "compile s"], rows)
    large = part.values[-1]
    ratios = [
        f"{name} {sizes[large]['compile'] / sizes[part.small]['compile']:.2f}"
        for name, sizes in flows.items()
    ]
    yield (
        f"Compile time, {large} ÷ {part.small} {part.one}s, which should be at most 1.2: "
        f"{', '.join(ratios)}."
    )


def memory_section(batches: dict[int, dict[str, dict[str, dict[int, Numbers]]]]) -> Iterable[str]:
    """A table for each batch, and what still grows."""
    first, last = DEPTHS[0], DEPTHS[-1]
    yield f"## Memory of a gradient: D = {MEMORY_DIM}, hidden (64,64)"
    for batch, flows in batches.items():
        timed = MEMORY_BATCHES[batch]
        header = [
            f"batch {batch}",
            *[f"{depth} layers, MB" for depth in DEPTHS],
            f"{last} ÷ {first}",
            "per event and layer",
            *[f"{depth} layers, ms" for depth in timed],
            f"÷ store at {first}",
        ]
        rows = [
            [
                f"{name}, {gradient}",
                *[number(depths[depth]["bytes"] / 1e6) for depth in DEPTHS],
                f"{depths[last]['bytes'] / depths[first]['bytes']:.2f}",
                number(per_event_and_layer(depths, batch)),
                *[number(depths[depth]["step"]) for depth in timed],
                f"{depths[first]['step'] / gradients['store'][first]['step']:.2f}",
            ]
            for name, gradients in flows.items()
            for gradient, depths in gradients.items()
        ]
        yield markdown_table(header, rows)
    grown = [
        f"{name} {number(parameters_growth(gradients['invert']) / 1e6)} MB"
        for name, gradients in next(iter(batches.values())).items()
    ]
    yield (
        "MB are the temporary buffers of a jitted step that overwrites its state. What still "
        'grows with "invert" is the gradient of the parameters themselves, from '
        f"{first} to {last} layers {', '.join(grown)}, and one number per event and layer: "
        "`per event and layer` is what else grows, in float32 numbers. Where events outweigh "
        f'parameters, `{last} ÷ {first}` of "invert" should be at most 1.15; its steps in '
        'couplings should take at most 1.3 times those of "store".'
    )


def parameters_growth(depths: dict[int, Numbers]) -> float:
    """Bytes of the deepest flow's parameters less those of the shallowest."""
    return depths[DEPTHS[-1]]["parameters"] - depths[DEPTHS[0]]["parameters"]


def per_event_and_layer(depths: dict[int, Numbers], batch: int) -> float:
    """Float32 numbers by which temporary memory grows, the parameters' gradient set apart."""
    first, last = DEPTHS[0], DEPTHS[-1]
    grown = depths[last]["bytes"] - depths[first]["bytes"] - parameters_growth(depths)
    return grown / (4 * batch * (last - first))


def main() -> None:
    """Measure the chosen parts; print or write tables and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="Markdown file to write; a picture lies beside it")
    names = [*PARTS, MEMORY]
    parser.add_argument("--parts", nargs="+", choices=names, default=names)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    Step(fl.flows.maf(dim=2, rngs=nnx.Rngs(0)), events(2, 2))  # warms the process's caches
    results: dict[str, Any] = {}
    sections = [f"# Scaling\n\nTimes are medians of {arguments.repeats} calls, in float32."]
    for name in arguments.parts:
        if name == MEMORY:
            results[name] = {
                batch: {
                    flow: memory(make, batch, arguments.repeats)
                    for flow, make in MEMORY_FLOWS.items()
                }
                for batch in MEMORY_BATCHES
            }
            sections += memory_section(results[name])
        else:
            results[name] = growth(PARTS[name], arguments.repeats)
            sections += growth_section(PARTS[name], results[name])
    text = "\n\n".join([*sections, environment()]) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)
        draw(results).savefig(arguments.out.with_suffix(".png"), dpi=120)


if __name__ == "__main__":
    main()
