"""Image flows: bits for each number of an image against the time of training, and samples.

    python benchmarks/images.py digits
    python benchmarks/images.py mnist --data-dir DIRECTORY --minutes 60
    python benchmarks/images.py mnist --data-dir DIRECTORY --minutes 1 --results /tmp
    python benchmarks/images.py cifar10 --data-dir DIRECTORY --epochs 1 --test 1000 --flows glow

A flow may take an hour: each is kept in a file beside the table, which is made of all that are
there; `--flows` without a name makes it anew. All flows of one data set are trained for about the
same time: a few batches say how many epochs it is worth, over which the rate falls. Flows of
vectors, on the same images flattened, stand beside those of images.
"""

import argparse
import json
import math
import zlib
from base64 import b64decode, b64encode
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
from flowjax_lite.data.dataset import Split, split

SAMPLES = 10  # of the noise, for the bound on the test images
RULE_SAMPLES = 4  # of the noise, the same for each class, for Bayes' rule
COLUMNS = 12  # of pictures
DRAWN = 2 * COLUMNS
PROBE = 500  # images that set the normalisations
ONE_HOT = np.eye(10, dtype=np.float32)
PROBE_STEPS = 50  # at most, that say how long an epoch takes


class Images(NamedTuple):
    """Images of whole levels, (rows, height, width, channels), and their classes, one-hot."""

    train: Split
    validation: Split
    test: Split
    num_levels: int


def unit_scale(images: Images, logit: float) -> fl.bijectors.AbstractBijector:
    """The map from unit scale to the pixels, as vectors, by the same logit as in image flows."""
    levels = images.num_levels
    x = images.train.x[:PROBE].reshape(PROBE, -1)
    dim = x.shape[1]
    scale = levels / (1 - 2 * logit)
    pixels = [
        fl.bijectors.Sigmoid(dim),
        fl.bijectors.Standardize(dim, loc=-logit * scale, scale=scale),
    ]
    to_pixels = fl.bijectors.Chain(pixels)
    noisy = x + np.random.default_rng(0).uniform(size=x.shape).astype(np.float32)
    z, _ = jax.vmap(to_pixels.inverse_and_log_det)(noisy)
    return fl.bijectors.Chain([fl.bijectors.Standardize.from_data(np.asarray(z)), *pixels])


def digits(data_dir: Path | None) -> Images:
    """The digits of scikit-learn, in the parts of `fl.data.load("digits")`."""
    data = load_digits()
    classes = ONE_HOT[data.target]
    parts = split(data.images[..., None], condition=classes, seed=0, validation=200, test=297)
    return Images(*(Split(part.x.astype(np.uint8), part.condition) for part in parts), 17)


def mnist_images(data_dir: Path | None) -> Images:
    """MNIST, the last 2,000 training images held out."""
    assert data_dir is not None, "mnist needs --data-dir"
    train, test = (
        Split(x, ONE_HOT[labels])
        for x, labels in (mnist(data_dir, part) for part in ("train", "t10k"))
    )
    return Images(train[:-2000], train[-2000:], test, 256)


def cifar10(data_dir: Path | None) -> Images:
    """20,000 of the training images of CIFAR-10, the last 1,000 held out, and all test images."""
    assert data_dir is not None, "cifar10 needs --data-dir"
    parts = [np.load(data_dir / "cifar10" / f"{name}.npz") for name in ("train_20k", "test")]
    train, test = (Split(part["x"], ONE_HOT[part["label"]]) for part in parts)
    test = test[np.random.default_rng(0).permutation(len(test))]  # they are sorted by class
    return Images(train[:-1000], train[-1000:], test, 256)


# From the images and the logit of their pixels.
Maker = Callable[[Images, float], fl.distributions.Dequantized]


def of_images(name: str, *, variational: bool = False, **options: Any) -> Maker:
    """A maker of an image flow."""

    def make(images: Images, logit: float) -> fl.distributions.Dequantized:
        shape, levels, rngs = images.train.x.shape[1:], images.num_levels, nnx.Rngs(0)
        given = {"image_shape": shape, "num_levels": levels, "logit": logit, "rngs": rngs}
        flow = fl.flows.IMAGES[name](**given, **options)
        noise = fl.flows.dequantizer(shape, num_layers=4, rngs=rngs) if variational else None
        return fl.distributions.Dequantized(flow, num_levels=levels, noise=noise)

    return make


def of_vectors(name: str, **options: Any) -> Maker:
    """A maker of a flow of vectors."""

    def make(images: Images, logit: float) -> fl.distributions.Dequantized:
        dim, middle = math.prod(images.train.x.shape[1:]), unit_scale(images, logit)
        flow = fl.flows.NAMED[name](dim=dim, data_map=middle, rngs=nnx.Rngs(0), **options)
        return fl.distributions.Dequantized(flow, num_levels=images.num_levels)

    return make


class Experiment(NamedTuple):
    """How the flows of one data set are trained, all of them alike."""

    load: Callable[[Path | None], Images]
    logit: float  # of pixels
    batch_size: int
    optimizer: fl.AdamW
    mirrored: bool  # half of the images, by chance, where a flow takes images
    shown: str  # the flow that goes from image to image, and fills in what is missing
    makers: dict[str, Maker]


EXPERIMENTS = {
    "digits": Experiment(
        digits,
        logit=0.01,
        batch_size=100,
        optimizer=fl.AdamW(1e-3, weight_decay=1.0, clip=1.0),
        mirrored=False,
        shown="flowpp_image",
        makers={
            "maf": of_vectors("maf", hidden=(128,)),
            "nsf_autoregressive": of_vectors("nsf_autoregressive", hidden=(128,)),
            "realnvp_image": of_images("realnvp_image", channels=32, normalization="act"),
            "glow": of_images("glow", num_layers=8, channels=64),
            "flowpp_image": of_images("flowpp_image", num_layers=2, channels=32, num_blocks=1),
        },
    ),
    "mnist": Experiment(
        mnist_images,
        logit=1e-6,
        batch_size=32,
        optimizer=fl.AdamW(1e-3, clip=1.0),
        mirrored=False,
        shown="flowpp_image",
        makers={
            "maf": of_vectors("maf", hidden=(512, 512)),
            "nsf_coupling": of_vectors("nsf_coupling", hidden=(256, 256)),
            "realnvp_image": of_images("realnvp_image", channels=32, normalization="act"),
            "glow": of_images("glow", num_layers=8, channels=64),
            "flowpp_image": of_images("flowpp_image", num_layers=2, channels=32),
            "glow, variational": of_images("glow", num_layers=8, channels=64, variational=True),
            "tarflow, given the class": of_images("tarflow", condition_dim=10),
            "jet": of_images("jet", patch_size=7, num_layers=3),
            "jet, not normalised": of_images("jet", patch_size=7, num_layers=3, normalization=None),
        },
    ),
    "cifar10": Experiment(
        cifar10,
        logit=0.01,
        batch_size=32,
        optimizer=fl.AdamW(1e-3, clip=1.0),
        mirrored=True,
        shown="glow",
        makers={
            "maf": of_vectors("maf", num_layers=3, hidden=(512,)),
            "glow": of_images("glow", num_scales=3, num_layers=8, channels=64),
            "realnvp_image, as published": of_images(
                "realnvp_image", num_scales=2, channels=64, num_blocks=8
            ),
        },
    ),
}


def as_taken(
    part: Split, model: fl.distributions.Dequantized
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images as the model takes them, flat for a flow of vectors, and their classes if it does."""
    condition = None if model.condition_shape is None else part.condition
    return part.x.reshape(-1, *model.event_shape), condition


def accuracy(model: fl.distributions.Dequantized, x: np.ndarray, classes: np.ndarray) -> float:
    """How often the class with the highest bound, all equally frequent, is the right one."""
    bounds = [
        model.lower_bound(x, 0, condition, num_samples=RULE_SAMPLES, batch_size=500)
        for condition in (np.broadcast_to(each, classes.shape) for each in ONE_HOT)
    ]
    return float(np.mean(np.argmax(bounds, axis=0) == classes.argmax(axis=1)))


def trained(
    model: fl.distributions.Dequantized,
    images: Images,
    experiment: Experiment,
    minutes: float,
    epochs: int | None,
) -> fl.FitResult[fl.distributions.Dequantized]:
    """The best epoch of a run of so many epochs, or else minutes.

    A run on a few batches first says how many epochs the minutes are worth.
    """
    x, condition = as_taken(images.train, model)
    held_out = as_taken(images.validation, model)
    model = fl.initialize(model, x[:PROBE], None if condition is None else condition[:PROBE])
    batch_size, loss = experiment.batch_size, fl.losses.bits_per_dim
    if experiment.mirrored and len(model.event_shape) == 3:
        loss = fl.losses.flipped(loss)
    options: dict[str, Any] = {
        "key": 0,
        "loss": loss,
        "optimizer": experiment.optimizer,
        "batch_size": batch_size,
        "validation": held_out,
        "patience": None,
        "ema": 0.998,
        "progress": False,
    }
    if epochs is None:
        few = images.train[: PROBE_STEPS * batch_size]
        probe = options | {"validation": as_taken(images.validation[:batch_size], model)}
        given, of_few = as_taken(few, model)
        seconds = fl.fit(model, given, condition=of_few, max_epochs=2, **probe).history["seconds"]
        epochs = max(2, round(60 * minutes / (seconds[1] - seconds[0]) * len(given) / len(x)))
    return fl.fit(model, x, condition=condition, max_epochs=epochs, **options)


def uses(model: fl.distributions.Dequantized, images: Images) -> np.ndarray:
    """Two rows of images: from one test image to another, and lower halves that are filled in.

    Of each of three images the half that is given stands first, on black.
    """
    some = images.test.x[:5].astype(np.float32)
    middle = fl.inference.interpolate(model.flow, some[0] + 0.5, some[1] + 0.5, COLUMNS)
    between = np.clip(np.floor(middle), 0, images.num_levels - 1).astype(np.uint8)
    is_upper = np.arange(some.shape[1])[:, None, None] < some.shape[1] // 2
    halves = np.where(is_upper, some[2:], 0).astype(np.uint8)
    copies = np.repeat(halves[:, None], COLUMNS // len(halves) - 1, axis=1)
    known = np.broadcast_to(is_upper, some.shape[1:])
    filled = np.asarray(fl.inference.inpaint(model, copies, known, 2))
    given = np.concatenate([halves[:, None], filled], axis=1).reshape(between.shape)
    return np.stack([between, given]).astype(np.uint8)


def draw(samples: dict[str, np.ndarray], num_levels: int) -> Figure:
    """Images of each kind in rows."""
    figure = Figure(figsize=(9, 1.6 * len(samples)), layout="constrained")
    for axes, (name, images) in zip(
        np.atleast_1d(figure.subplots(len(samples), 1)), samples.items(), strict=True
    ):
        rows = [np.concatenate(list(images[i : i + COLUMNS]), axis=1) for i in (0, COLUMNS)]
        tiles = np.concatenate(rows, axis=0) / (num_levels - 1)
        axes.imshow(tiles if tiles.shape[-1] == 3 else tiles[..., 0], cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def curves(kept: dict[str, dict[str, Any]]) -> Figure:
    """Bits of the images held out against minutes of training."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    for name, flow in kept.items():
        axes.plot(flow["minutes"], flow["validation"], label=name)
    lowest = min(min(flow["validation"]) for flow in kept.values())
    axes.set(xlabel="minutes of training", ylabel="bits/dim, upper bound, validation")
    axes.set_ylim(lowest - 0.05, lowest + 1.0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def measured(
    model: fl.distributions.Dequantized,
    history: dict[str, list[float]],
    images: Images,
    test: int | None,
) -> dict[str, Any]:
    """What is kept of a trained flow, of so many test images or of all, as JSON takes it."""
    x, condition = as_taken(images.test[:test], model)
    one, many = (
        float(model.bits_per_dim(x, 0, condition, num_samples=num, batch_size=500).mean())
        for num in (1, SAMPLES)
    )
    if condition is None:
        right, drawn = None, model.sample(1, DRAWN)
    else:
        right = accuracy(model, x, condition)
        drawn = model.sample(1, (), np.resize(ONE_HOT, (DRAWN, len(ONE_HOT))))
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))),
        "minutes": [second / 60 for second in history["seconds"]],
        "validation": history["validation"],
        "bits": one,
        "bits_of_many": many,
        "accuracy": right,
        "tested": len(x),
        "samples": packed(np.asarray(drawn)),
        "environment": environment(),
    }


def packed(images: np.ndarray) -> str:
    """Images of whole levels as text."""
    return b64encode(zlib.compress(images.astype(np.uint8).tobytes())).decode()


def unpacked(text: str) -> np.ndarray:
    """Whole levels, flat, of `packed`."""
    return np.frombuffer(zlib.decompress(b64decode(text)), np.uint8)


def table(kept: dict[str, dict[str, Any]]) -> str:
    """A row for each flow."""
    rows = [
        [
            name,
            f"{flow['parameters']:,}",
            f"{len(flow['minutes'])}",
            f"{flow['minutes'][-1]:.1f}",
            f"{flow['tested']:,}",
            f"{flow['bits']:.3f}",
            f"{flow['bits_of_many']:.3f}",
            "" if flow["accuracy"] is None else f"{flow['accuracy']:.1%}",
        ]
        for name, flow in kept.items()
    ]
    header = ["flow", "parameters", "epochs", "minutes", "test images", "bits/dim"]
    header += [f"bits/dim, {SAMPLES} samples", "Bayes' rule is right"]
    return markdown_table(header, rows)


def report(
    kept: dict[str, dict[str, Any]], data: str, images: Images, experiment: Experiment
) -> str:
    """The page of a data set."""
    mirrored = ", half of them mirrored" * experiment.mirrored
    return f"""# Image flows on {data}

{table(kept)}

Upper bounds on the test images, of {images.num_levels} levels, by uniform noise, or by that of a
flow where the name says so, with one sample and with {SAMPLES}; lower is better. Where the class is
given, those of the images alone are at most log 10 nats an image higher, and Bayes' rule takes
{RULE_SAMPLES} samples of the noise, the same for each class. {len(images.train):,} training images
in batches of {experiment.batch_size}{mirrored}; pixels by a logit with
{experiment.logit}; an average of the parameters with a decay of 0.998; the epoch that is best on
{len(images.validation):,} images held out.

[Samples](images_{data}.png), [bits against minutes](images_{data}_curves.png).

{"  ".join(sorted({flow["environment"] for flow in kept.values()}))}
"""


def main() -> None:
    """Train flows of a data set, and write its table and pictures, with those trained before."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=EXPERIMENTS)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, for each flow")
    parser.add_argument("--epochs", type=int, help="of training, in place of minutes")
    parser.add_argument("--test", type=int, help="number of test images; all by default")
    parser.add_argument("--flows", nargs="*", help="those to train; all by default")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    experiment = EXPERIMENTS[arguments.data]
    images, makers = experiment.load(arguments.data_dir), experiment.makers
    store = arguments.results / f"images_{arguments.data}.json"
    kept = json.loads(store.read_text()) if store.exists() else {}
    for name in makers if arguments.flows is None else arguments.flows:
        model = makers[name](images, experiment.logit)
        result = trained(model, images, experiment, arguments.minutes, arguments.epochs)
        kept[name] = measured(result.flow, result.history, images, arguments.test)
        if name == experiment.shown:
            kept[name]["uses"] = packed(uses(result.flow, images))
        store.write_text(json.dumps(kept, indent=1) + "\n")
    kept = {name: kept[name] for name in makers if name in kept}
    text = report(kept, arguments.data, images, experiment)
    print(text)
    store.with_suffix(".md").write_text(text)
    samples = {"data": images.test.x[:DRAWN]}
    for name, flow in kept.items():
        samples[name] = unpacked(flow["samples"]).reshape(samples["data"].shape)
    draw(samples, images.num_levels).savefig(store.with_suffix(".png"), dpi=120)
    path = arguments.results / f"images_{arguments.data}_curves.png"
    curves(kept).savefig(path, dpi=120)


if __name__ == "__main__":
    main()
