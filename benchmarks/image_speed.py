"""Image flows against their networks alone, memory against depth, and sampling with a cache.

    python benchmarks/image_speed.py
    python benchmarks/image_speed.py --batch 8 --repeats 2 --out /tmp

The networks alone are those of all couplings, run the same way: each in a scan over its layers, the
output of one added to the input of the next. What a flow costs beyond them is rearranging,
normalising, linear maps of channels, and the affine maps themselves.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import environment, markdown_table, with_noise
from flax import nnx
from jax import Array
from timing import interleaved

import flowjax_lite as fl

SHAPE = (28, 28, 1)
FLOWS: dict[str, dict[str, Any]] = {
    "glow": {"num_layers": 8, "channels": 64},
    "realnvp_image": {"channels": 32, "normalization": "act"},
    "flowpp_image": {"channels": 32},
}
DEPTHS = (8, 32)
METHODS = ("cached", "blocks", "jacobi", "sequential")


def make(name: str, **options: Any) -> fl.Flow:
    """A flow of images, its parameters moved away from the identity."""
    flow = fl.flows.IMAGES[name](image_shape=SHAPE, rngs=nnx.Rngs(0), **options)
    return with_noise(flow, 0.01, seed=0)


class Networks(nnx.Module):
    """The networks of an image flow's couplings, those of a scale in a scan."""

    def __init__(self, flow: fl.Flow) -> None:
        modules = [module for _, module in nnx.iter_modules(flow)]
        repeated = [m.layers for m in modules if isinstance(m, fl.bijectors.Repeat)]
        self.stacked = nnx.List([layer.bijectors[0].conditioner for layer in repeated])
        inside = {id(m) for layer in repeated for _, m in nnx.iter_modules(layer)}
        self.single = nnx.List(
            [
                m.conditioner
                for m in modules
                if isinstance(m, fl.bijectors.Coupling) and id(m) not in inside
            ]
        )

    def __call__(self, x: Array) -> Array:
        """A scalar that depends on every network, from one image."""

        def added(x: Array, network: Any) -> tuple[Array, None]:
            return x + jnp.sum(network(x), axis=0), None

        total = jnp.zeros(())
        for network in self.stacked:
            first = jnp.resize(x, network.in_shape)
            total = total + jnp.sum(jax.lax.scan(added, first, network)[0])
        for network in self.single:
            total = total + jnp.sum(added(jnp.resize(x, network.in_shape), network)[0])
        return total


def differentiated(
    model: Any, function: Callable[[Any, Array], Array]
) -> tuple[Callable[..., Any], Any]:
    """A compiled function of parameters and a batch, the mean and its gradient, and parameters."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def mean(params: Any, x: Array) -> Array:
        model = nnx.merge(graph, params, rest)
        return jnp.mean(jax.vmap(lambda x: function(model, x))(x))

    return jax.jit(jax.value_and_grad(mean)), params


def forward(model: Any, function: Callable[[Any, Array], Array]) -> tuple[Callable[..., Any], Any]:
    """A compiled function of a state and a batch, the values of its rows, and the state."""
    graph, state = nnx.split(model)
    values = jax.jit(lambda state, x: jax.vmap(lambda x: function(nnx.merge(graph, state), x))(x))
    return values, state


def log_prob(flow: fl.Flow, x: Array) -> Array:
    """Of one event."""
    return flow.log_prob(x)


def speed(batch: int, repeats: int) -> list[list[str]]:
    """Milliseconds of each flow and of its networks."""
    x = jax.random.uniform(jax.random.key(0), (batch, *SHAPE)) * 255
    rows = []
    for name, options in FLOWS.items():
        flow = make(name, **options)
        networks = Networks(flow)
        calls = {
            "density": (forward(flow, log_prob), x),
            "its networks": (forward(networks, lambda net, x: net(x)), x / 255),
            "gradient": (differentiated(flow, log_prob), x),
            "its networks' gradient": (differentiated(networks, lambda net, x: net(x)), x / 255),
        }
        functions = {
            key: (lambda f=f, state=state, x=x: f(state, x))
            for key, ((f, state), x) in calls.items()
        }
        times = interleaved(functions, repeats, jax.block_until_ready)
        density, bare, gradient, bare_gradient = times.values()
        ratios = f"{density / bare:.2f}", f"{gradient / bare_gradient:.2f}"
        rows.append([name, *(f"{value:.0f}" for value in times.values()), *ratios])
        print(*rows[-1], flush=True)
    return rows


def memory(batch: int) -> list[list[str]]:
    """Megabytes of a gradient and seconds of its compilation, against depth."""
    x = jnp.zeros((batch, *SHAPE))
    rows = []
    for gradient in ("store", "recompute", "invert"):
        sizes, seconds = [], []
        for depth in DEPTHS:
            flow = make("glow", num_layers=depth, channels=32, num_scales=1, gradient=gradient)
            function, params = differentiated(flow, log_prob)
            lowered = function.lower(params, x)
            begin = time.perf_counter()
            compiled = lowered.compile()
            seconds.append(time.perf_counter() - begin)
            sizes.append(compiled.memory_analysis().temp_size_in_bytes / 2**20)
        ratio = f"{sizes[1] / sizes[0]:.2f}"
        rows.append([gradient, *(f"{s:.0f}" for s in sizes), ratio, *(f"{s:.1f}" for s in seconds)])
        print(*rows[-1], flush=True)
    return rows


def sampling(num: int, repeats: int) -> list[list[str]]:
    """Milliseconds of samples of a TarFlow of 196 tokens, by each method."""
    functions = {}
    for method in METHODS:
        flow = make("tarflow", patch_size=2, num_layers=4, width=128)
        for _, module in nnx.iter_modules(flow):
            if isinstance(module, fl.bijectors.MaskedAutoregressive):
                module.method = method
        graph, state = nnx.split(flow)
        draw = jax.jit(lambda state, key, graph=graph: nnx.merge(graph, state).sample(key, num))
        functions[method] = lambda draw=draw, state=state: draw(state, jax.random.key(1))
    first, *others = (np.asarray(function()) for function in functions.values())
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-3, atol=1e-2)
    times = interleaved(functions, repeats, jax.block_until_ready)
    return [
        [method, f"{value:,.0f}", f"{value / times['cached']:.1f}"]
        for method, value in times.items()
    ]


def main() -> None:
    """Measure, print, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    of_speed = speed(arguments.batch, arguments.repeats)
    of_memory = memory(arguments.batch)
    of_sampling = sampling(arguments.samples, arguments.repeats)
    print(of_sampling)
    text = "\n".join(
        [
            "# Speed of image flows",
            "",
            f"Images of {' × '.join(map(str, SHAPE))}, two scales, batches of {arguments.batch}, "
            f"float32; milliseconds, medians of {arguments.repeats} interleaved calls.",
            "",
            markdown_table(
                [
                    "flow",
                    "density",
                    "its networks",
                    "gradient",
                    "its networks' gradient",
                    "ratio, density",
                    "ratio, gradient",
                ],
                of_speed,
            ),
            "",
            f"Memory of the gradient of a Glow with one scale and 32 channels in MB, for "
            f"{DEPTHS[0]} and {DEPTHS[1]} steps, their ratio, and seconds of compilation:",
            "",
            markdown_table(
                ["gradient", *map(str, DEPTHS), "ratio", *(f"compile {d}" for d in DEPTHS)],
                of_memory,
            ),
            "",
            f"{arguments.samples} samples of a `tarflow` of 196 tokens, 4 layers of 2 attentions, "
            f"width 128: milliseconds, and how often those of the cache. All methods give the same "
            f"samples.",
            "",
            markdown_table(["method", "ms", "times cached"], of_sampling),
            "",
            environment(),
            "",
        ]
    )
    print(text)
    (arguments.out / "image_speed.md").write_text(text)


if __name__ == "__main__":
    main()
