"""The pictures of the gallery: what each family makes of a grid, and of two moons.

python docs/gallery_pictures.py            # all
python docs/gallery_pictures.py maf iaf    # some
"""

import io
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from matplotlib.figure import Figure
from PIL import Image

import flowjax_lite as fl

FOLDER = Path(__file__).parent / "_static" / "gallery"
EPOCHS = 30
# Few layers and small networks, so that pictures show the family; more where layers say less.
SETTINGS: dict[str, dict[str, Any]] = {
    **{name: {"num_layers": 8} for name in ("nice", "realnvp", "glow_1d", "maf", "iaf")},
    "planar": {"num_layers": 32},
    "radial": {"num_layers": 32},
    "sylvester": {"num_layers": 16},
    "gaussianization": {"num_layers": 8},
}
# By likelihood, which solves an equation in every step, they take too long for a picture.
LEFT_OUT = ("ffjord", "rnode")


def trained(name: str, x: np.ndarray) -> fl.Flow:
    """A flow of a family that has learned two moons."""
    settings = {"num_layers": 4} | SETTINGS.get(name, {})
    options: dict[str, Any] = {"key": 0, "progress": False, "learning_rate": 5e-3}
    if name == "cnf":
        settings = {"hidden": (32, 32), "rtol": 1e-3, "atol": 1e-3}
        options["loss"] = fl.flow_matching(coupling="optimal_transport")
    flow = fl.flows.NAMED[name](dim=2, rngs=nnx.Rngs(0), **settings)
    return fl.fit(flow, x, max_epochs=EPOCHS, **options).flow


def draw(name: str) -> None:
    """Lines of a grid of the latent space where the flow takes them, and the density."""
    x = fl.data.toy("moons").train.x
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    flow = trained(name, x)
    along, across = np.linspace(-2.2, 2.2, 200), np.linspace(-2, 2, 11)
    lines = np.stack(np.meshgrid(along, across), axis=-1)  # (11, 200, 2)
    lines = np.concatenate([lines, lines[..., ::-1]]).astype(np.float32)
    if name == "circular_nsf":  # whose latent space is a circle for each angle
        lines = lines * np.float32(np.pi / 2.2)
    moved = np.array(flow.to_data(lines.reshape(-1, 2))[0]).reshape(lines.shape)
    moved[:, 1:][np.any(np.abs(np.diff(moved, axis=1)) > np.pi, axis=2)] = np.nan  # once around
    edge = np.linspace(-2.5, 2.5, 200, dtype=np.float32)
    log_p = flow.log_prob(np.stack(np.meshgrid(edge, edge), axis=-1), batch_size=10_000)

    figure = Figure(figsize=(4.2, 2.1), layout="constrained")
    grid, density = figure.subplots(1, 2)
    for half, colour in zip(np.split(moved, 2), ("tab:blue", "tab:orange"), strict=True):
        for line in half:
            grid.plot(*line.T, color=colour, linewidth=0.7)
    density.imshow(np.exp(log_p), origin="lower", extent=(-2.5, 2.5, -2.5, 2.5), cmap="Blues")
    for axes in (grid, density):
        axes.set(xticks=[], yticks=[], xlim=(-2.5, 2.5), ylim=(-2.5, 2.5), aspect="equal")
        axes.spines[:].set_color("0.8")
    FOLDER.mkdir(parents=True, exist_ok=True)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=90)
    Image.open(picture).quantize(64).save(FOLDER / f"{name}.png", optimize=True)
    held_out = fl.data.toy("moons").test.x
    held_out = (held_out - held_out.mean(axis=0)) / held_out.std(axis=0)
    print(f"{name}: {float(flow.log_prob(held_out).mean()):.3f} nats", flush=True)
    jax.clear_caches()


if __name__ == "__main__":
    for name in sys.argv[1:] or [name for name in fl.flows.NAMED if name not in LEFT_OUT]:
        draw(name)
