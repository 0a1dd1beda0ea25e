"""LeNet on MNIST with and without noise on its weights, and what both say of rotated digits.

    python benchmarks/bayesian_lenet.py --data-dir DIRECTORY
    python benchmarks/bayesian_lenet.py --data-dir DIRECTORY --epochs 1 --rows 6000 --results /tmp

Multiplicative normalizing flows (Louizos and Welling, 2017, arXiv:1703.01961): convolutions of
20 and 50 channels, dense layers of 500 and 10 outputs. The plain network is the same one without
noise, trained by maximum likelihood. Digits that are turned on their side are no longer digits: a
network that knows what it does not know becomes uncertain.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import environment, markdown_table, mnist
from flax import nnx
from jax import Array
from matplotlib.figure import Figure
from scipy.ndimage import rotate

import flowjax_lite as fl
from flowjax_lite.inference import BayesianClassifier, MaxPool, MNFConv, MNFLinear

ANGLES = tuple(range(0, 181, 15))
# The noise starts small, and has a long way to go: its rate is higher.
NOISY = (0, 2, 4, 5)
FASTER = tuple((f"layers/{number}/raw_std", 5.0) for number in NOISY)


def lenet() -> BayesianClassifier:
    """LeNet with 20 and 50 channels and 500 units."""
    rngs = nnx.Rngs(0)
    options: dict[str, Any] = {"hidden": (50,), "num_layers": 2, "rngs": rngs}
    convolution = {"size": 5, "padding": "VALID", **options}
    return BayesianClassifier(
        [
            MNFConv((28, 28, 1), 20, **convolution),
            MaxPool((24, 24, 20)),
            MNFConv((12, 12, 20), 50, **convolution),
            MaxPool((8, 8, 50)),
            MNFLinear(800, 500, **options),
            MNFLinear(500, 10, **options),
        ]
    )


def without_noise(
    net: BayesianClassifier, x: Array, condition: Array, weights: Array, key: Array | None
) -> Array:
    """The negative log-likelihood of the mean network."""
    return fl.inference.bayesian_loss(num_rows=1)(net, x, condition, weights, None)


@jax.jit
def plain(net: BayesianClassifier, x: Array) -> Array:
    """Log-probabilities of the mean network."""
    return jax.nn.log_softmax(jax.vmap(net.logits)(x))


def entropy(log_p: np.ndarray) -> np.ndarray:
    """Of the predicted classes of each row, in nats."""
    return -np.sum(np.exp(log_p) * log_p, axis=1)


def turned(images: np.ndarray, angle: float) -> np.ndarray:
    """The images, rotated."""
    moved = rotate(images, angle, axes=(2, 1), reshape=False, order=1)
    return np.clip(moved, 0, 1).astype(np.float32)


def draw(angles: dict[str, np.ndarray], examples: np.ndarray) -> Figure:
    """Error and entropy against the angle, and a digit at each of them."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(4, 1))
    panels = top.subplots(1, 2)
    for axes, row, label in zip(panels, (0, 1), ("error", "mean entropy (nats)"), strict=True):
        for name, values in angles.items():
            axes.plot(ANGLES, values[row], marker=".", label=name)
        axes.set(xlabel="rotation (degrees)", ylabel=label, xticks=ANGLES[::2], ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    axes = bottom.subplots()
    axes.imshow(np.concatenate(examples[..., 0], axis=1), cmap="gray_r")
    axes.set_axis_off()
    return figure


def main() -> None:
    """Train both networks, and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", type=int, default=60_000, help="training images")
    parser.add_argument("--samples", type=int, default=50, help="networks for each prediction")
    parser.add_argument("--rotated", type=int, default=1000, help="test images that are rotated")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    (x, labels), (x_test, y_test) = (
        (images.astype(np.float32) / 255, labels)
        for images, labels in (mnist(arguments.data_dir, part) for part in ("train", "t10k"))
    )
    x, labels = x[: arguments.rows], labels[: arguments.rows, None].astype(int)
    count = len(x) // 12
    options: dict[str, Any] = {
        "key": 0,
        "condition": labels,
        "validation": count,
        "batch_size": 100,
        "max_epochs": arguments.epochs,
        "patience": None,
        "checks": "off",
        "progress": False,
    }
    # The lowest bound on the training rows is a choice among networks; validation sees their mean.
    settings = {
        "LeNet": {"loss": without_noise, "learning_rate": 1e-3},
        "LeNet with flows": {
            "loss": fl.inference.bayesian_loss(num_rows=len(x) - count),
            "optimizer": fl.AdamW(1e-3, clip=100.0, rates=FASTER),
            "monitor": "train",
        },
    }
    rows, angles = [], {}
    rotated = [turned(x_test[: arguments.rotated], angle) for angle in ANGLES]
    for name, setting in settings.items():
        begin = time.perf_counter()
        result = fl.fit(lenet(), x, **options, **setting)
        seconds = time.perf_counter() - begin
        net = result.flow

        def predict(images: np.ndarray, name: str = name, net: Any = net) -> np.ndarray:
            if name == "LeNet":
                parts = np.array_split(images, max(1, len(images) // 1000))
                return np.concatenate([plain(net, jnp.asarray(part)) for part in parts])
            options = {"num_samples": arguments.samples, "batch_size": 1000}
            return np.asarray(net.predict(images, 0, **options))

        log_p = predict(x_test)
        wrong = np.argmax(log_p, axis=1) != y_test
        of_angles = [predict(images) for images in rotated]
        truth = y_test[: arguments.rotated]
        angles[name] = np.array(
            [
                [np.mean(np.argmax(log_p, axis=1) != truth) for log_p in of_angles],
                [entropy(log_p).mean() for log_p in of_angles],
            ]
        )
        confident = np.mean([np.max(log_p, axis=1) > np.log(0.9) for log_p in of_angles[6:7]])
        row = [wrong.mean(), -log_p[np.arange(len(y_test)), y_test].mean()]
        still, side = angles[name][1, [0, ANGLES.index(90)]]
        rows.append(
            [
                name,
                f"{row[0]:.2%}",
                f"{row[1]:.4f}",
                f"{still:.3f}",
                f"{side:.3f}",
                f"{confident:.0%}",
                f"{seconds / 60:.1f}",
            ]
        )
        print(*rows[-1], result.history["train"][-1], flush=True)
    header = ["", "test error", "−log p(y given x)", "entropy at 0°", "entropy at 90°"]
    header += ["90°: surer than 90 %", "minutes"]
    text = "\n".join(
        [
            "# LeNet with noise on its weights",
            "",
            markdown_table(header, rows),
            "",
            f"MNIST, {len(x):,} images of which {count:,} are held out, {arguments.epochs} epochs "
            f"in batches of 100, Adam with a rate of 1e-3, one seed. Entropies in nats, mean of "
            f"{arguments.rotated:,} test images; at 90° most predictions are wrong, and the last "
            f"column but one says how many of them are made with a probability above 90 %. "
            f"Predictions of the network with flows are means over {arguments.samples} networks. "
            f"Standard deviations of weights stay below 0.5.",
            "",
            environment(),
            "",
        ]
    )
    print(text)
    (arguments.results / "bayesian_lenet.md").write_text(text)
    examples = np.stack([images[0] for images in rotated])
    draw(angles, examples).savefig(arguments.results / "bayesian_lenet.png", dpi=150)


if __name__ == "__main__":
    main()
