"""The picture of the start page: a normal becomes two moons, layer by layer.

python docs/start_picture.py
"""

from pathlib import Path

import jax
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import flowjax_lite as fl

SHOWN = 5  # steps on the way


def main() -> None:
    """Train, draw, and write the picture."""
    x = fl.data.toy("moons").train.x
    flow = fl.flows.nsf_coupling(dim=2, num_layers=8, hidden=(64, 64), rngs=nnx.Rngs(0))
    flow = fl.fit(flow, x, key=0, max_epochs=60, progress=False).flow
    z = jax.random.normal(jax.random.key(1), (2500, 2))
    path = np.asarray(flow.trajectory(z))
    colour = np.arctan2(z[:, 1], z[:, 0])
    grid = np.stack(np.meshgrid(np.linspace(-2, 3, 300), np.linspace(-2.2, 2.8, 300)), axis=-1)
    density = np.exp(flow.log_prob(grid.astype(np.float32)))

    figure = Figure(figsize=(11, 2.1), layout="constrained")
    *panels, last = figure.subplots(1, SHOWN + 1)
    steps = np.linspace(0, len(path) - 1, SHOWN).astype(int)
    for axes, step in zip(panels, steps, strict=True):
        axes.scatter(*path[step].T, c=colour, s=1.5, cmap="hsv", linewidths=0)
        axes.set_title({0: "z, normal", steps[-1]: "x = f(z)"}.get(step, "on the way"))
    last.imshow(density, origin="lower", cmap="Blues", aspect="auto")
    last.set_title("p(x)")
    for axes in (*panels, last):
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    figure.savefig(Path(__file__).parent / "_static" / "moons.png", dpi=100)


if __name__ == "__main__":
    main()
