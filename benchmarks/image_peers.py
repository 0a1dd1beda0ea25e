"""Our Glow beside that of normflows: one architecture, one machine, calls by turns.

python benchmarks/image_peers.py
python benchmarks/image_peers.py --batch 8 --repeats 2 --out image_peers.md

Both have two scales of eight steps, each a normalisation, a linear map of channels by triangular
factors, and a coupling whose network has convolutions of 3 × 3, 1 × 1 and 3 × 3. The optimizer is
Adam. normflows runs eagerly, as in its documentation.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import jax
import normflows as nf
import numpy as np
import optax
import torch
from common import PACKAGES, environment, markdown_table
from flax import nnx
from timing import interleaved

import flowjax_lite as fl

SIDE, SCALES, STEPS, CHANNELS, RATE = 28, 2, 8, 64, 1e-3
TEXT = f"""\
# Glow beside a peer

Images of {SIDE} × {SIDE} × 1, {SCALES} scales of {STEPS} steps, networks of {CHANNELS} channels,
batches of {{batch}}, float32; milliseconds, medians of {{repeats}} calls by turns. A step is one of
Adam, whole. `÷ ours` divides by the time of flowjax_lite: above 1, flowjax_lite is faster.

What a scale leaves behind is normal given what goes on in flowjax_lite, as published, by one more
convolution; in normflows it has learned means and scales of its own, which are the rest of its
parameters."""
Calls = dict[str, Callable[[], object]]


def ours(x: np.ndarray) -> tuple[Calls, int]:
    """The calls to time, compiled, and the number of parameters."""
    shape = (SIDE, SIDE, 1)
    options = {"num_scales": SCALES, "num_layers": STEPS, "channels": CHANNELS}
    flow = fl.flows.glow(image_shape=shape, **options, rngs=nnx.Rngs(0))
    batch = jax.numpy.asarray(x.reshape(-1, *shape))
    graph, params, rest = nnx.split(fl.initialize(flow, batch), nnx.Param, ...)
    optimizer = optax.adam(RATE)
    state = optimizer.init(params)

    def loss(params: object) -> jax.Array:
        return -jax.numpy.mean(nnx.merge(graph, params, rest).log_prob(batch))

    @jax.jit
    def step(params: object, state: object) -> tuple[object, object]:
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    log_prob = jax.jit(lambda params: nnx.merge(graph, params, rest).log_prob(batch))
    draw = jax.jit(lambda params: nnx.merge(graph, params, rest).sample(0, len(x)))
    calls = {
        "log_prob": lambda: jax.block_until_ready(log_prob(params)),
        "step": lambda: jax.block_until_ready(step(params, state)),
        "sample": lambda: jax.block_until_ready(draw(params)),
    }
    return calls, sum(leaf.size for leaf in jax.tree.leaves(params))


def theirs(x: np.ndarray) -> tuple[Calls, int]:
    """The same of normflows, whose flows are built from the latent to the data."""
    torch.set_num_threads(os.cpu_count() or 1)
    flows, bases = [], []
    for scale in reversed(range(SCALES)):  # the last scale first
        depth, side = 4 * 2**scale, SIDE // 2 ** (scale + 1)
        blocks = [nf.flows.GlowBlock(depth, CHANNELS) for _ in range(STEPS)]
        flows.append([*blocks, nf.flows.Squeeze()])
        kept = depth if scale == SCALES - 1 else depth // 2
        bases.append(nf.distributions.DiagGaussian((kept, side, side)))
    merges = [nf.flows.Merge() for _ in range(SCALES - 1)]
    middle = nf.transforms.Logit(alpha=0.01)
    flow = nf.MultiscaleFlow(bases, flows, merges, transform=middle, class_cond=False)
    batch = torch.from_numpy(x.reshape(-1, 1, SIDE, SIDE) / 256)
    optimizer = torch.optim.Adam(flow.parameters(), lr=RATE)

    def step() -> None:
        optimizer.zero_grad()
        (-flow.log_prob(batch, None).mean()).backward()
        optimizer.step()

    calls = {
        "log_prob": torch.no_grad()(lambda: flow.log_prob(batch, None)),
        "step": step,
        "sample": torch.no_grad()(lambda: flow.sample(len(x))),
    }
    calls["log_prob"]()  # sets the normalisations
    return calls, sum(param.numel() for param in flow.parameters())


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=7)
    default = Path(__file__).parent / "results" / "image_peers.md"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    size = (arguments.batch, SIDE * SIDE)
    x = np.random.default_rng(0).uniform(0, 256, size).astype(np.float32)
    built = {"flowjax_lite": ours(x), "normflows": theirs(x)}
    calls = {(name, call): f for name, (calls, _) in built.items() for call, f in calls.items()}
    times = interleaved(calls, arguments.repeats, lambda result: result)
    rows = []
    for name, (kinds, parameters) in built.items():
        cells = [name, f"{parameters:,}"]
        for call in kinds:
            ratio = times[name, call] / times["flowjax_lite", call]
            cells += [f"{times[name, call]:.0f}", f"{ratio:.2f}"]
        rows.append(cells)
    header = ["", "parameters"]
    for call in ("log_prob", "step", "sample"):
        header += [call, "÷ ours"]
    parts = [
        TEXT.format(batch=arguments.batch, repeats=arguments.repeats),
        markdown_table(header, rows),
        environment((*PACKAGES, "torch", "normflows")),
    ]
    print(*parts[1:], sep="\n\n")
    arguments.out.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
