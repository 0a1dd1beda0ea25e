"""What the benchmarks share: tables, the machine they ran on, and training without data."""

import functools
import gzip
import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from frameworks.in_jax import in_float64
from jax import Array

import flowjax_lite as fl
from flowjax_lite.continuous import with_solver

PACKAGES = ("jax", "jaxlib", "flax", "optax", "distrax", "numpy")


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, the first column to the left and the others to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def mnist(data_dir: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """The images of MNIST, (rows, 28, 28, 1) of 0 to 255, and their labels (rows,).

    Args:
        data_dir: holds the folder `mnist` with the four original files, gzipped.
        part: "train" or "t10k".
    """

    def read(name: str, header: int) -> np.ndarray:
        with gzip.open(data_dir / "mnist" / f"{part}-{name}-ubyte.gz") as file:
            return np.frombuffer(file.read(), np.uint8, offset=header)

    return read("images-idx3", 16).reshape(-1, 28, 28, 1), read("labels-idx1", 8)


def environment(packages: tuple[str, ...] = PACKAGES) -> str:
    """One line on the machine and the versions of packages."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    device = jax.devices()[0]
    usable = getattr(os, "sched_getaffinity", None)  # not on every system
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    return (
        f"Measured on {cores} core{'s' * (cores > 1)} ({platform.machine()}, {platform.system()}), "
        f"device {device.device_kind}, Python {platform.python_version()}, {versions}."
    )


def with_noise(flow: fl.Flow, spread: float, seed: int) -> fl.Flow:
    """A flow with normal noise on each parameter, which is the identity no longer."""
    graph, params, rest = nnx.split(flow, nnx.Param, ...)
    rng = np.random.default_rng(seed)
    noisy = jax.tree.map(
        lambda leaf: leaf + jnp.asarray(spread * rng.normal(size=leaf.shape), leaf.dtype), params
    )
    return nnx.merge(graph, noisy, rest)


@functools.partial(jax.jit, static_argnames=("loss", "steps", "learning_rate"))
def train_on_samples(
    flow: fl.Flow,
    key: Array,
    *batch: Any,
    loss: Callable[..., Array],
    steps: int,
    learning_rate: float,
) -> tuple[fl.Flow, Array]:
    """Minimise loss(flow, key, *batch) with Adam and a cosine decay, all steps on the device.

    Returns:
        The trained flow, and the loss (steps,) before each step.
    """
    schedule = optax.cosine_decay_schedule(learning_rate, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(schedule))
    step = fl.make_train_step(loss, optimizer)
    state, losses = jax.lax.scan(
        lambda state, key: step(state, key, *batch),
        fl.TrainState.create(flow, optimizer),
        jax.random.split(key, steps),
    )
    return state.flow, losses


def sharp_log_prob(flow: fl.Flow, x: np.ndarray) -> np.ndarray:
    """Log-densities of a continuous flow in float64, with a tolerance of 1e-11."""
    with jax.enable_x64(True):
        sharp = {"method": "dopri8", "rtol": 1e-11, "atol": 1e-11, "max_steps": 4096}
        flow = with_solver(in_float64(flow), **sharp)
        return np.asarray(flow.log_prob(jnp.asarray(x, jnp.float64)))
