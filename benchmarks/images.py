"""Image flows: bits for each number of an image against the time of training, and samples.

    python benchmarks/images.py digits
    python benchmarks/images.py mnist --data-dir DIRECTORY --minutes 60
    python benchmarks/images.py mnist --data-dir DIRECTORY --minutes 1 --results /tmp

All flows of one data set are trained for about the same time: a few batches say how many epochs it
is worth, over which the rate falls. Flows of vectors, on the same images flattened, stand beside
those of images.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from common import environment, markdown_table, mnist
from flax import nnx
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import flowjax_lite as fl
from flowjax_lite.data.dataset import split

SAMPLES = 20  # of the noise, for the bound on the test images
PROBE = 500  # images that set the normalisations
PROBE_STEPS = 50  # at most, that say how long an epoch takes


class Images(NamedTuple):
    """Images of whole levels, (rows, height, width, channels)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    num_levels: int


def digits(data_dir: Path | None) -> Images:
    """The digits of scikit-learn, in the parts of `fl.data.load("digits")`."""
    parts = split(load_digits().data, seed=0, validation=200, test=297)
    return Images(*(part.x.reshape(-1, 8, 8, 1).astype(np.uint8) for part in parts), 17)


def mnist_images(data_dir: Path | None) -> Images:
    """MNIST, the last 2,000 training images held out."""
    assert data_dir is not None, "mnist needs --data-dir"
    train, test = (mnist(data_dir, part)[0] for part in ("train", "t10k"))
    return Images(train[:-2000], train[-2000:], test, 256)


Maker = Callable[[tuple[int, int, int], int], fl.distributions.Dequantized]


def of_images(name: str, *, variational: bool = False, **options: Any) -> Maker:
    """A maker of an image flow."""

    def make(shape: tuple[int, int, int], num_levels: int) -> fl.distributions.Dequantized:
        rngs = nnx.Rngs(0)
        flow = fl.flows.IMAGES[name](image_shape=shape, num_levels=num_levels, rngs=rngs, **options)
        noise = fl.flows.dequantizer(shape, num_layers=4, rngs=rngs) if variational else None
        return fl.distributions.Dequantized(flow, num_levels=num_levels, noise=noise)

    return make


def of_vectors(name: str, **options: Any) -> Maker:
    """A maker of a flow of vectors."""

    def make(shape: tuple[int, int, int], num_levels: int) -> fl.distributions.Dequantized:
        dim = math.prod(shape)
        middle = fl.bijectors.Standardize(dim, loc=num_levels / 2, scale=num_levels / 4)
        flow = fl.flows.NAMED[name](dim=dim, data_map=middle, rngs=nnx.Rngs(0), **options)
        return fl.distributions.Dequantized(flow, num_levels=num_levels)

    return make


# For each data set: its images, the size of a batch, the optimizer, and what is trained.
SETS: dict[str, tuple[Callable[..., Images], int, fl.AdamW, dict[str, Maker]]] = {
    "digits": (
        digits,
        100,
        fl.AdamW(1e-3, weight_decay=1.0, clip=1.0),
        {
            "maf": of_vectors("maf", hidden=(128,)),
            "nsf_autoregressive": of_vectors("nsf_autoregressive", hidden=(128,)),
            "realnvp_image": of_images("realnvp_image", channels=32, normalization="act"),
            "glow": of_images("glow", num_layers=8, channels=64),
            "flowpp_image": of_images("flowpp_image", num_layers=2, channels=32, num_blocks=1),
        },
    ),
    "mnist": (
        mnist_images,
        100,
        fl.AdamW(1e-3, clip=1.0),
        {
            "maf": of_vectors("maf", hidden=(512, 512)),
            "nsf_coupling": of_vectors("nsf_coupling", hidden=(256, 256)),
            "realnvp_image": of_images("realnvp_image", channels=32, normalization="act"),
            "glow": of_images("glow", num_layers=8, channels=64),
            "flowpp_image": of_images("flowpp_image", num_layers=2, channels=32),
            "glow, variational": of_images("glow", num_layers=8, channels=64, variational=True),
            "tarflow": of_images("tarflow", patch_size=4, num_attentions=2, width=128),
            "jet": of_images("jet", patch_size=2, num_layers=3, width=128),
        },
    ),
}


def as_events(x: np.ndarray, model: fl.distributions.Dequantized) -> np.ndarray:
    """Images as the model takes them, flat for a flow of vectors."""
    return x.reshape(-1, *model.event_shape)


def trained(
    model: fl.distributions.Dequantized,
    images: Images,
    *,
    batch_size: int,
    optimizer: fl.AdamW,
    minutes: float,
) -> fl.FitResult[fl.distributions.Dequantized]:
    """The best epoch of a run of so many minutes.

    A run on a few batches first says how many epochs they are worth.
    """
    x, held_out = (as_events(part, model) for part in (images.train, images.validation))
    model = fl.initialize(model, x[:PROBE])
    options: dict[str, Any] = {
        "key": 0,
        "loss": fl.losses.bits_per_dim,
        "optimizer": optimizer,
        "batch_size": batch_size,
        "validation": held_out,
        "patience": None,
        "ema": 0.998,
        "progress": False,
    }
    few = x[: PROBE_STEPS * batch_size]
    probe = options | {"validation": held_out[:batch_size]}
    seconds = fl.fit(model, few, max_epochs=2, **probe).history["seconds"]
    epochs = max(2, round(60 * minutes / (seconds[1] - seconds[0]) * len(few) / len(x)))
    return fl.fit(model, x, max_epochs=epochs, **options)


def draw(samples: dict[str, np.ndarray], num_levels: int, *, columns: int = 12) -> Figure:
    """Images of each kind in rows."""
    figure = Figure(figsize=(9, 1.6 * len(samples)), layout="constrained")
    for axes, (name, images) in zip(
        np.atleast_1d(figure.subplots(len(samples), 1)), samples.items(), strict=True
    ):
        rows = [np.concatenate(list(images[i : i + columns]), axis=1) for i in (0, columns)]
        tiles = np.concatenate(rows, axis=0) / (num_levels - 1)
        axes.imshow(tiles if tiles.shape[-1] == 3 else tiles[..., 0], cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def curves(histories: dict[str, dict[str, Any]]) -> Figure:
    """Bits of the images held out against minutes of training."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    for name, history in histories.items():
        axes.plot(np.asarray(history["seconds"]) / 60, history["validation"], label=name)
    lowest = min(min(history["validation"]) for history in histories.values())
    axes.set(xlabel="minutes of training", ylabel="bits/dim, upper bound, validation")
    axes.set_ylim(lowest - 0.05, lowest + 1.0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def main() -> None:
    """Train all flows of a data set, and write its table and pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=SETS)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, for each flow")
    parser.add_argument("--flows", nargs="+", help="those to train; all by default")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    load, batch_size, optimizer, makers = SETS[arguments.data]
    images = load(arguments.data_dir)
    rows, histories = [], {}
    samples = {"data": images.test[:24]}
    for name in arguments.flows or makers:
        model = makers[name](images.train.shape[1:], images.num_levels)
        options = {"batch_size": batch_size, "optimizer": optimizer, "minutes": arguments.minutes}
        result = trained(model, images, **options)
        model, histories[name] = result.flow, result.history
        x = as_events(images.test, model)
        one, many = (
            float(model.bits_per_dim(x, 0, num_samples=num, batch_size=500).mean())
            for num in (1, SAMPLES)
        )
        samples[name] = np.asarray(model.sample(1, 24)).reshape(24, *images.train.shape[1:])
        size = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
        epochs = len(result.history["train"])
        row = [name, f"{size:,}", f"{epochs}", f"{result.history['seconds'][-1] / 60:.1f}"]
        rows.append([*row, f"{one:.3f}", f"{many:.3f}"])
        print(*rows[-1], flush=True)
    header = ["flow", "parameters", "epochs", "minutes", "bits/dim", f"bits/dim, {SAMPLES} samples"]
    text = "\n".join(
        [
            f"# Image flows on {arguments.data}",
            "",
            markdown_table(header, rows),
            "",
            f"Upper bounds on the test images, of {images.num_levels} levels, by uniform noise, or "
            f"by that of a flow where the name says so, with one sample and with {SAMPLES}; lower "
            f"is better. {len(images.train):,} training images in batches of {batch_size}; an "
            f"average of the parameters with a decay of 0.998; the epoch that is best on "
            f"{len(images.validation):,} images held out. About {arguments.minutes:g} minutes of "
            f"training for each flow.",
            "",
            f"[Samples](images_{arguments.data}.png), "
            f"[bits against minutes](images_{arguments.data}_curves.png).",
            "",
            environment(),
            "",
        ]
    )
    print(text)
    (arguments.results / f"images_{arguments.data}.md").write_text(text)
    picture = draw(samples, images.num_levels)
    picture.savefig(arguments.results / f"images_{arguments.data}.png", dpi=120)
    path = arguments.results / f"images_{arguments.data}_curves.png"
    curves(histories).savefig(path, dpi=120)


if __name__ == "__main__":
    main()
