"""Convolutions and their gradients, by our rule and by XLA's own, outside and inside of a loop.

    python benchmarks/convolution.py

Every epoch of training is a loop on the device. On CPU, XLA computes gradients of convolutions
there by other code than at the top of a program; see `numerics/convolution.py`.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
from common import environment, markdown_table
from jax import Array, lax

from flowjax_lite.numerics.convolution import convolution

IMAGES, SIDE, KERNEL = 50, 14, 3
CHANNELS = ((64, 64), (2, 64), (64, 4))  # within a residual network; first and last of a Glow
REPEATS, STEPS, LAYERS = 5, 2, 2
ENOUGH = 5.0  # seconds of calls after which no more of them are timed

Conv = Callable[[Array, Array], Array]
Gradient = Callable[[Array, Array, Array], Array]


def ours(x: Array, kernel: Array) -> Array:
    """The convolution of the library, of a batch."""
    return jax.vmap(convolution, in_axes=(0, None))(x, kernel)


def of_xla(x: Array, kernel: Array) -> Array:
    """The operation with XLA's own derivatives."""
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)


def pulled_back(conv: Conv, argument: int) -> Gradient:
    """The gradient by one argument, from the gradient by the output."""

    def gradient(x: Array, kernel: Array, y_bar: Array) -> Array:
        return jax.vjp(conv, x, kernel)[1](y_bar)[argument]

    return gradient


def trained(conv: Conv) -> Gradient:
    """The gradient by the kernel of a network that uses it in every layer."""

    def gradient(x: Array, kernel: Array, y_bar: Array) -> Array:
        def loss(kernel: Array) -> Array:
            h = x
            for _ in range(LAYERS):
                h = jnp.tanh(conv(h, kernel))
            return jnp.sum(h * y_bar)

        return jax.grad(loss)(kernel)

    return gradient


def in_a_loop(function: Gradient) -> Gradient:
    """Several calls, of which each waits for the one before."""

    def repeated(x: Array, kernel: Array, y_bar: Array) -> Array:
        def body(_: Array, last: Array) -> Array:
            wait = 1e-9 * jnp.mean(last)
            return function(x + wait, kernel, y_bar + wait)

        result = jax.eval_shape(function, x, kernel, y_bar)
        return lax.fori_loop(0, STEPS, body, jnp.zeros(result.shape, result.dtype))

    return repeated


def seconds(function: Gradient, arguments: tuple[Array, ...]) -> float:
    """The shortest time of a call, of a few."""
    compiled = jax.jit(function)
    jax.block_until_ready(compiled(*arguments))
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < ENOUGH:
        begin = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - begin)
    return min(times)


def measure(channels: int, channels_out: int) -> list[list[str]]:
    """GFLOP/s of each case, as rows of the table."""
    image, kernel = (IMAGES, SIDE, SIDE, channels), (KERNEL, KERNEL, channels, channels_out)
    keys = jax.random.split(jax.random.key(0), 3)
    x, w, y_bar = map(jax.random.normal, keys, (image, kernel, (*image[:3], channels_out)))
    w = w / jnp.sqrt(channels * KERNEL**2)
    cases: dict[str, tuple[int, Callable[[Conv], Gradient]]] = {
        "convolution": (1, lambda conv: lambda x, w, y_bar: conv(x, w)),
        "gradient by the image": (1, lambda conv: pulled_back(conv, 0)),
        "gradient by the kernel": (1, lambda conv: pulled_back(conv, 1)),
    }
    if channels == channels_out:
        cases[f"{LAYERS} layers, gradient by the kernel"] = 3 * LAYERS - 1, trained
    rows = []
    for name, (passes, make) in cases.items():
        row = [f"{name}, {channels} → {channels_out} channels"]
        for conv in (ours, of_xla):
            function = make(conv)
            top = seconds(function, (x, w, y_bar))
            loop = seconds(in_a_loop(function), (x, w, y_bar)) / STEPS
            operations = 2 * IMAGES * SIDE**2 * KERNEL**2 * channels * channels_out
            row += [f"{passes * operations / t / 1e9:,.1f}" for t in (top, loop)]
        rows.append(row)
        print(*row, flush=True)
    return rows


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    rows = [row for channels in CHANNELS for row in measure(*channels)]
    text = "\n".join(
        [
            "# Convolutions",
            "",
            markdown_table(
                ["", "our rule, top", "in a loop", "XLA's rule, top", "in a loop"], rows
            ),
            "",
            f"GFLOP/s, higher is faster: {IMAGES} images of {SIDE} × {SIDE}, kernels of "
            f"{KERNEL} × {KERNEL}, float32, best of up to {REPEATS} calls; at the top of a "
            f"program, and in a loop of {STEPS} calls.",
            "",
            environment(),
            "",
        ]
    )
    print(text)
    (arguments.results / "convolution.md").write_text(text)


if __name__ == "__main__":
    main()
