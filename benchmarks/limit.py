"""How near a flow's step is to what its matrix products and its optimizer take on this machine.

    python benchmarks/limit.py
    python benchmarks/limit.py --repeats 5 --out limit.md

Each product of a step is timed by itself, with operands of its shape: forward, for the gradient
by the input, and for that by the weights. Their sum, and an update of Adam on the flow's own
parameters, is the limit. Beside ours, with more and more layers in a round of the scan, stands the
same flow written by hand: plain arrays, layers in a Python loop, nothing that a library needs.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import environment, markdown_table
from flax import nnx
from frameworks import base
from frameworks.with_flowjax_lite import make_flow
from timing import interleaved

import flowjax_lite as fl

KINDS = ("coupling", "maf")  # of the flows of `peers.py`
UNROLLED = (1, 2, 4, 8)
HIGHEST = jax.lax.Precision.HIGHEST


def widths(kind: str, dim: int) -> tuple[int, ...]:
    """Of a network's layers, input and output included."""
    kept, moved = (dim, dim) if kind == "maf" else (dim // 2, dim - dim // 2)
    return kept, *base.CASES[kind].hidden, 2 * moved


# By hand: the parameters of a layer are a list of (weight, bias), those of the flow a list of them.


def network_by_hand(layer: Any, masks: list[Any], h: Any) -> tuple[Any, Any]:
    """Shifts and log-scales of a batch."""
    for index, ((weight, bias), mask) in enumerate(zip(layer, masks, strict=True)):
        h = jnp.matmul(h, weight if mask is None else weight * mask, precision=HIGHEST) + bias
        h = jax.nn.relu(h) if index + 1 < len(layer) else h
    shift, raw = jnp.split(h, 2, axis=1)
    return shift, jnp.tanh(raw)


def by_hand(kind: str, dim: int) -> tuple[list[Any], Callable[..., Any], Callable[..., Any]]:
    """Parameters, the log-densities of a batch, and samples of couplings from normal numbers."""
    rng = np.random.default_rng(0)
    sizes = list(itertools.pairwise(widths(kind, dim)))
    params = [
        [
            (jnp.asarray(rng.normal(size=s) / np.sqrt(s[0]), jnp.float32), jnp.zeros(s[1]))
            for s in sizes
        ]
        for _ in range(base.CASES[kind].num_layers)
    ]
    masks = _masks(dim) if kind == "maf" else [None] * len(sizes)
    kept = 0 if kind == "maf" else dim // 2

    def log_prob(params: Any, x: Any) -> Any:
        log_det = jnp.zeros(len(x))
        for layer in reversed(params):
            x = x[:, ::-1]
            read = x if kind == "maf" else x[:, :kept]
            shift, log_scale = network_by_hand(layer, masks, read)
            moved = (x[:, kept:] - shift) * jnp.exp(-log_scale)
            x = jnp.concatenate([x[:, :kept], moved], axis=1)
            log_det -= log_scale.sum(1)
        return log_det - 0.5 * jnp.sum(x**2, axis=1) - 0.5 * dim * np.log(2 * np.pi)

    def sample(params: Any, x: Any) -> Any:
        for layer in params:
            shift, log_scale = network_by_hand(layer, masks, x[:, :kept])
            moved = x[:, kept:] * jnp.exp(log_scale) + shift
            x = jnp.concatenate([x[:, :kept], moved], axis=1)[:, ::-1]
        return x

    return params, log_prob, sample


def _masks(dim: int) -> list[Any]:
    """Those of a masked network, for the order of the entries."""
    degrees = [np.arange(dim)]
    degrees += [np.arange(n) % (dim - 1) for n in base.CASES["maf"].hidden]
    masks = [b[None] >= a[:, None] for a, b in itertools.pairwise(degrees)]
    last = degrees[-1][:, None] < np.arange(dim)[None]
    return [jnp.asarray(mask, jnp.float32) for mask in (*masks, np.tile(last, 2))]


def products(kind: str, dim: int) -> Iterator[tuple[str, tuple[int, int], tuple[int, int]]]:
    """Shapes of the factors of each product in a layer, and which pass it is of."""
    for into, out in itertools.pairwise(widths(kind, dim)):
        yield "forward", (base.BATCH, into), (into, out)
        yield "by input", (base.BATCH, out), (out, into)
        yield "by weight", (into, base.BATCH), (base.BATCH, out)


def limits(kind: str, dim: int, repeats: int) -> tuple[dict[str, float], float]:
    """Milliseconds of all products of each pass and of Adam, and GFLOP/s of the products."""
    rng = np.random.default_rng(0)
    functions, passes, flops = {}, {}, 0
    for index, (name, a, b) in enumerate(products(kind, dim)):
        left, right = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in (a, b))
        many = 20  # in one call, so that the call itself does not count

        @jax.jit
        def run(left: Any, right: Any, many: int = many) -> Any:
            def again(right: Any, _: Any) -> tuple[Any, Any]:
                product = jnp.matmul(left, right, precision=HIGHEST)
                return right + 1e-30 * product[0, 0], product[0, 0]

            return jax.lax.scan(again, right, length=many)

        functions[str(index)] = lambda run=run, left=left, right=right: run(left, right)
        passes[str(index)] = name
        flops += 2 * a[0] * a[1] * b[1]
    times = interleaved(functions, repeats, jax.block_until_ready)
    layers = base.CASES[kind].num_layers
    total = {name: 0.0 for name in dict.fromkeys(passes.values())}
    for index, milliseconds in times.items():
        total[passes[index]] += layers * milliseconds / many
    rate = layers * flops / sum(total.values()) / 1e6
    optimizer = optax.adam(1e-4)
    params = nnx.state(make_flow(base.CASES[kind], dim), nnx.Param)
    state = optimizer.init(params)

    @jax.jit
    def update(params: Any, state: Any) -> Any:
        updates, state = optimizer.update(params, state, params)  # of any gradients
        return optax.apply_updates(params, updates), state

    adam = interleaved({"": lambda: update(params, state)}, repeats, jax.block_until_ready)[""]
    return total | {"Adam": adam}, rate


def steps(
    kind: str, dim: int, repeats: int
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Milliseconds of densities, steps and samples, by hand and of ours, and seconds at first."""
    x = jax.random.normal(jax.random.key(0), (base.BATCH, dim))
    optimizer = optax.adam(1e-4)
    params, log_prob, sampler = by_hand(kind, dim)
    state = optimizer.init(params)

    @jax.jit
    def step(params: Any, state: Any, x: Any) -> Any:
        loss, gradient = jax.value_and_grad(lambda p: -jnp.mean(log_prob(p, x)))(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, loss

    density = jax.jit(log_prob)
    functions: dict[str, dict[str, Callable[[], object]]] = {
        "density": {"by hand": lambda: density(params, x)},
        "step": {"by hand": lambda: step(params, state, x)},
    }
    if kind == "coupling":
        drawn = jax.jit(lambda params, key: sampler(params, jax.random.normal(key, x.shape)))
        functions["sample"] = {"by hand": lambda: drawn(params, jax.random.key(1))}
    of_ours = jax.jit(lambda flow, x: flow.log_prob(x))
    sample = jax.jit(lambda flow, key: flow.sample(key, (base.BATCH,)))
    train = jax.jit(fl.make_train_step(fl.negative_log_likelihood, optimizer))
    for unroll in UNROLLED:
        flow, name = make_flow(base.CASES[kind], dim, unroll), f"ours, {unroll}"
        functions["density"][name] = lambda flow=flow: of_ours(flow, x)
        own = fl.TrainState.create(flow, optimizer)
        functions["step"][name] = lambda own=own: train(own, x)[1]
        if kind == "coupling":
            functions["sample"][name] = lambda flow=flow: sample(flow, jax.random.key(1))
    first = {
        what: {name: seconds(function) for name, function in each.items()}
        for what, each in functions.items()
    }
    later = {
        what: interleaved(each, repeats, jax.block_until_ready) for what, each in functions.items()
    }
    return later, first


def seconds(function: Callable[[], object]) -> float:
    """Of one call: if it is the first, nearly all of it compilation."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def main() -> None:
    """Measure, print, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--dims", type=int, nargs="+", default=[63, 8])
    default = Path(__file__).parent / "results" / "limit.md"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    parts = []
    for kind, dim in itertools.product(KINDS, arguments.dims):
        limit, rate = limits(kind, dim, arguments.repeats)
        total = sum(limit.values())
        told = ", ".join(f"{name} {ms:.1f}" for name, ms in limit.items())
        rows = []
        later, first = steps(kind, dim, arguments.repeats)
        for what, times in later.items():
            for name, ms in times.items():
                least = total if what == "step" else limit["forward"]
                ratios = f"{ms / times['by hand']:.2f}", f"{ms / least:.2f}"
                rows.append([what, name, f"{ms:.2f}", *ratios, f"{first[what][name]:.1f}"])
        header = ["call", "layers in a round", "ms", "÷ by hand", "÷ limit", "first call, s"]
        parts += [
            f"## {base.CASES[kind]}, D = {dim}",
            "",
            f"Products and Adam of a step, ms: {told}; in all {total:.1f}, products at "
            f"{rate:.0f} GFLOP/s. Densities and samples have the forward products as their limit.",
            "",
            markdown_table(header, rows),
            "",
        ]
        print("\n".join(parts[-6:]), flush=True)
    head = [
        "# Affine flows and the limit of the machine",
        "",
        f"Batches of {base.BATCH}, float32, medians of {arguments.repeats} interleaved calls.",
        "",
    ]
    arguments.out.write_text("\n".join([*head, *parts, environment(), ""]))


if __name__ == "__main__":
    main()
