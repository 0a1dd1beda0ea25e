"""Train flowjax's MAF on BSDS300 with the settings of ours, for the same table and picture.

    pip install "flowjax-lite[bench]"
    python benchmarks/flowjax_maf.py --data-dir DIRECTORY
    python benchmarks/coupling_vs_autoregressive.py bsds300 --data-dir DIRECTORY

Same rows, standardisation, layers, widths, batch size, epochs, optimizer and schedule; the
training loop is made of flowjax's own `step` and loss. The second command adds the result to
its table.
"""

import argparse
import dataclasses
import json
import time
from importlib.metadata import version
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from coupling_vs_autoregressive import bsds300
from flowjax.bijections import Affine
from flowjax.distributions import AbstractDistribution, Normal, Transformed
from flowjax.flows import masked_autoregressive_flow
from flowjax.train import step
from flowjax.train.losses import MaximumLikelihoodLoss
from paramax import NonTrainable, non_trainable

import flowjax_lite as fl
from flowjax_lite.cli.commands.compare import ROWS, Row
from flowjax_lite.cli.report import Score


@eqx.filter_jit
def log_prob(flow: AbstractDistribution, x: jax.Array) -> jax.Array:
    """Log-densities of one batch."""
    return flow.log_prob(x)


def evaluate(flow: AbstractDistribution, x: np.ndarray) -> np.ndarray:
    """Log-densities of all rows, in batches of 1000."""
    return np.concatenate([log_prob(flow, x[i : i + 1000]) for i in range(0, len(x), 1000)])


def main() -> None:
    """Train, and write one row in the form that the comparison reads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/coupling_vs_autoregressive"))
    arguments = parser.parse_args()
    config = bsds300("maf", arguments.data_dir)
    data = fl.data.load("bsds300", data_dir=arguments.data_dir)
    x, dim = data.train.x, data.dim
    key = jax.random.key(0)
    flow = masked_autoregressive_flow(
        key,
        base_dist=Normal(jnp.zeros(dim)),
        flow_layers=config.flow["num_layers"],
        nn_width=config.flow["hidden"][0],
        nn_depth=len(config.flow["hidden"]),
    )
    unit_to_data = non_trainable(Affine(jnp.asarray(x.mean(0)), jnp.asarray(x.std(0))))
    flow = Transformed(flow, unit_to_data)
    batch_size, epochs = config.training["batch_size"], config.training["max_epochs"]
    optimizer = fl.AdamW(config.training["learning_rate"])(epochs * (len(x) // batch_size))
    params, static = eqx.partition(
        flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, NonTrainable)
    )
    opt_state, loss = optimizer.init(params), MaximumLikelihoodLoss()
    device_x, rng = jnp.asarray(x), np.random.default_rng(0)
    best, curve, start = (-np.inf, params), [], time.perf_counter()
    for epoch in range(epochs):
        order = jnp.asarray(rng.permutation(len(x)))
        for i in range(len(x) // batch_size):
            batch = device_x[order[i * batch_size : (i + 1) * batch_size]]
            key, subkey = jax.random.split(key)
            params, opt_state, _ = step(
                params,
                static,
                batch,
                key=subkey,
                optimizer=optimizer,
                opt_state=opt_state,
                loss_fn=loss,
            )
        value = float(np.mean(evaluate(eqx.combine(params, static), data.validation.x)))
        curve.append((time.perf_counter() - start, value))
        print(f"epoch {epoch}: {curve[-1][0]:.0f} s, validation {value:.3f}", flush=True)
        if value > best[0]:
            best = (value, params)
    flow = eqx.combine(best[1], static)
    score = Score.of(
        [evaluate(flow, split) for split in (x, data.validation.x, data.test.x)],
        data,
        name="flowjax maf",
        note=f"flowjax {version('flowjax')}, the settings of maf",
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
    )
    seconds = np.array(curve)[:, 0]
    row = Row(
        score,
        epochs=epochs,
        seconds_per_epoch=float(np.median(np.diff(seconds))),
        total_seconds=float(seconds[-1]),
        curve=tuple(curve),
    )
    target = arguments.out / "bsds300" / "flowjax_maf" / ROWS
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps(dataclasses.asdict(row)) + "\n")


if __name__ == "__main__":
    main()
