"""The memory of a training step of a MAF, by each way of taking its gradient, beside flowjax.

    pip install "flowjax-lite[bench]"
    python benchmarks/memory_peers.py
    python benchmarks/memory_peers.py --out memory_peers.md

Nothing is run: XLA says what a compiled step holds at once.
"""

import argparse
from pathlib import Path

import equinox as eqx
import jax
import optax
from common import PACKAGES, environment, markdown_table
from flax import nnx
from flowjax.train import step as flowjax_step
from flowjax.train.losses import MaximumLikelihoodLoss
from frameworks import with_flowjax
from frameworks.base import Case

import flowjax_lite as fl

DIM, HIDDEN, BATCH = 63, (256, 256), 4096
DEPTHS = (5, 10, 20)
GRADIENTS = ("store", "recompute", "invert")


def of_ours(gradient: str, num_layers: int, x: jax.Array) -> int:
    """Bytes of temporaries of a step of our MAF."""
    settings = {"dim": DIM, "num_layers": num_layers, "hidden": HIDDEN, "activation": "relu"}
    flow = fl.flows.maf(**settings, gradient=gradient, rngs=nnx.Rngs(0))
    optimizer = optax.adam(1e-4)
    step = jax.jit(fl.make_train_step(fl.negative_log_likelihood, optimizer))
    compiled = step.lower(fl.TrainState.create(flow, optimizer), x).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def of_flowjax(num_layers: int, x: jax.Array) -> int:
    """The same of flowjax's."""
    flow = with_flowjax.make_flow(Case(True, False, num_layers, HIDDEN), DIM)
    params, static = eqx.partition(flow, eqx.is_inexact_array)
    optimizer = optax.adam(1e-4)
    settings = {"optimizer": optimizer, "opt_state": optimizer.init(params)}
    lowered = flowjax_step.lower(params, static, x, **settings, loss_fn=MaximumLikelihoodLoss())
    return lowered.compile().compiled.memory_analysis().temp_size_in_bytes


def main() -> None:
    """Compile all steps, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).parent / "results" / "memory_peers.md"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    x = jax.random.normal(jax.random.key(0), (BATCH, DIM))
    peer = {depth: of_flowjax(depth, x) for depth in DEPTHS}
    rows = [["flowjax", *cells(peer, peer)]]
    for gradient in GRADIENTS:
        ours = {depth: of_ours(gradient, depth, x) for depth in DEPTHS}
        rows.append([f"flowjax_lite, {gradient}", *cells(ours, peer)])
    header = [cell for depth in DEPTHS for cell in (f"{depth} layers, MB", "÷ flowjax")]
    first, second = HIDDEN
    text = f"""# Memory of a training step beside flowjax

{markdown_table(["MAF", *header], rows)}

A MAF in {DIM} dimensions with networks of {first} and {second} units, ReLU, {BATCH:,} events a
step, Adam, float32. MB are the temporary buffers of the compiled step, without what it is given and
what it returns: parameters and the state of Adam, the same for both. As a deeper flow returns more,
and temporaries may lie where results will, those of "invert" shrink.

{environment((*PACKAGES, "flowjax", "equinox"))}
"""
    print(text)
    arguments.out.write_text(text)


def cells(sizes: dict[int, int], peer: dict[int, int]) -> list[str]:
    """MB at each depth, and their ratio to flowjax's."""
    return [
        cell
        for depth, size in sizes.items()
        for cell in (f"{size / 1e6:.1f}", f"{size / peer[depth]:.2f}")
    ]


if __name__ == "__main__":
    main()
