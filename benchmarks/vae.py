"""Posteriors of a small VAE on MNIST: none, planar, Sylvester and inverse autoregressive flows.

    python benchmarks/vae.py --data-dir DIRECTORY
    python benchmarks/vae.py --data-dir DIRECTORY --epochs 2 --posteriors none planar --results /tmp

The images are binarised once, by a fixed seed. All four have the same networks; a posterior of
"none" is a normal with independent entries. Compare the gains: the networks are smaller than those
of Van den Berg et al., 2018, arXiv:1803.05649, and the numbers are therefore higher.
"""

import argparse
import time
from pathlib import Path

import jax
import numpy as np
from common import environment, markdown_table, mnist
from flax import nnx
from matplotlib.figure import Figure

import flowjax_lite as fl

LATENTS, HIDDEN, WARM_UP = 32, 300, 0.1
# −ELBO of table 1 of the paper, with larger networks, for the gains.
PUBLISHED = {"none": 86.55, "planar": 86.06, "iaf": 84.20, "sylvester": 83.32}


def posterior(name: str, rngs: nnx.Rngs) -> fl.Flow:
    """A posterior of one kind, given what the encoder says of an image."""
    base = fl.distributions.ConditionalNormal(
        LATENTS, condition_dim=HIDDEN, hidden=(HIDDEN,), rngs=rngs
    )
    if name == "none":
        return fl.Flow(base, fl.bijectors.Identity(LATENTS))
    options = {"dim": LATENTS, "condition_dim": HIDDEN, "base": base, "rngs": rngs}
    if name == "planar":
        return fl.flows.planar(num_layers=16, hidden=(64,), **options)
    if name == "sylvester":
        return fl.flows.sylvester(num_layers=8, form="triangular", hidden=(64,), **options)
    return fl.flows.iaf(num_layers=4, hidden=(HIDDEN,), **options)


def vae(name: str) -> fl.inference.VAE:
    """The model; networks of the same sizes and first weights for all posteriors."""
    rngs = nnx.Rngs(0)
    options = {"hidden": (HIDDEN,), "zero": False, "rngs": rngs}
    encoder = fl.conditioners.MLP(784, out_shape=(HIDDEN,), **options)
    decoder = fl.conditioners.MLP(
        LATENTS, out_shape=(784,), **options | {"hidden": (HIDDEN, HIDDEN)}
    )
    return fl.inference.VAE(encoder, posterior(name, rngs), decoder)


def binarised(images: np.ndarray, seed: int) -> np.ndarray:
    """Each pixel one with the probability of its grey value, once and for all."""
    draws = np.random.default_rng(seed).random(images.shape)
    return (draws < images / 255).astype(np.float32).reshape(len(images), -1)


def draw(models: dict[str, fl.inference.VAE], x: np.ndarray) -> Figure:
    """Test images, what each model makes of them, and samples of each."""
    rows = [("data", x[:12])]
    for name, model in models.items():
        samples = model.decode(model.prior.sample(jax.random.key(3), 12))
        rows += [(f"{name}: again", model.reconstruct(x[:12], 1)), ("samples", samples)]
    figure = Figure(figsize=(9, 0.85 * len(rows)), layout="constrained")
    for axes, (name, images) in zip(figure.subplots(len(rows), 1), rows, strict=True):
        tiles = np.asarray(images).reshape(12, 28, 28)
        axes.imshow(np.concatenate(tiles, axis=1), cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def main() -> None:
    """Train all posteriors, and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--posteriors", nargs="+", choices=PUBLISHED, default=[*PUBLISHED])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--rows", type=int, default=60_000, help="training images")
    parser.add_argument("--samples", type=int, default=500, help="of the weighted bound")
    parser.add_argument("--test-rows", type=int, default=10_000)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    images, _ = mnist(arguments.data_dir, "train")
    x = binarised(images[: arguments.rows], 0)
    x_test = binarised(mnist(arguments.data_dir, "t10k")[0], 1)[: arguments.test_rows]
    steps = -(-int(0.95 * len(x)) // 100) * arguments.epochs
    loss = fl.inference.elbo(warm_up_steps=int(WARM_UP * steps))
    models, bounds, seconds = {}, {}, {}
    for name in arguments.posteriors:
        begin = time.perf_counter()
        result = fl.fit(
            vae(name),
            x,
            key=0,
            loss=loss,
            optimizer=fl.AdamW(1e-3, clip=200.0),
            batch_size=100,
            max_epochs=arguments.epochs,
            patience=None,
            ema=0.999,
            validation=0.05,
            checks="off",
            progress=False,
        )
        seconds[name] = time.perf_counter() - begin
        models[name] = result.flow
        elbo = np.mean(
            [result.flow.lower_bound(x_test, seed, batch_size=1000) for seed in range(5)], axis=0
        )
        weighted = result.flow.lower_bound(
            x_test, 0, num_samples=arguments.samples, batch_size=1000
        )
        bounds[name] = -np.array([np.mean(elbo), np.mean(weighted)])
        print(f"{name}: {bounds[name]}, {seconds[name]:.0f} s", flush=True)
    rows = []
    for name, (elbo, weighted) in bounds.items():
        row = [name, f"{elbo:.2f}", f"{weighted:.2f}"]
        if "none" in bounds:
            gain, of_weighted = bounds["none"] - bounds[name]
            row += [f"{gain:+.2f}", f"{of_weighted:+.2f}"]
            row.append(f"{PUBLISHED['none'] - PUBLISHED[name]:+.2f}")
        rows.append([*row, f"{seconds[name] / 60:.1f}"])
    header = ["posterior", "−ELBO", f"−bound, {arguments.samples} samples"]
    if "none" in bounds:
        header += ["gain of the ELBO", "gain of the bound", "published gain of the ELBO"]
    text = "\n".join(
        [
            "# Posteriors of a VAE on MNIST",
            "",
            markdown_table([*header, "minutes"], rows),
            "",
            f"Nats an image, of {len(x_test):,} test images, binarised once by a fixed seed; lower "
            f"is better. The second column is the importance-weighted bound of Burda et al. "
            f"(arXiv:1509.00519), which still lies above the negative log-likelihood. Dense "
            f"networks with layers of {HIDDEN}, {LATENTS} latents, {arguments.epochs} epochs of "
            f"{len(x):,} images in batches of 100, β rising over the first {WARM_UP:.0%} of all "
            f"steps, an average of the parameters with a decay of 0.999, one seed. The published "
            f"gains are those of gated convolutions and up to 2000 epochs (Van den Berg et al., "
            f"2018, arXiv:1803.05649, table 1).",
            "",
            environment(),
            "",
        ]
    )
    print(text)
    (arguments.results / "vae.md").write_text(text)
    draw(models, x_test).savefig(arguments.results / "vae.png", dpi=150)


if __name__ == "__main__":
    main()
