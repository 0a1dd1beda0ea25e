"""A hundred labels of MNIST: a classifier of them alone, and hybrid models that see all images.

    python benchmarks/few_labels.py --data-dir DIRECTORY --epochs 4
    python benchmarks/few_labels.py --data-dir DIRECTORY --epochs 1 --rows 6000 --results /tmp

The model and its training are those of `hybrid.py`. Images without a label teach its density, and,
with a radius, that predictions stay the same near their latents.
"""

import argparse

import numpy as np
from common import environment, markdown_table, mnist
from hybrid import DIM, add_arguments, bits_per_dim, noisy, trained

import flowjax_lite as fl

WEIGHT = 0.01 / DIM  # of the density
RADIUS = 3.0


def few(y: np.ndarray, number: int) -> np.ndarray:
    """Rows with a few labels of each class, repeated to a fifth of all rows and theirs."""
    rng = np.random.default_rng(0)
    each = number // 10
    rows = [rng.permutation(np.flatnonzero(y[:, 0] == label))[:each] for label in range(10)]
    return np.resize(rng.permutation(np.concatenate(rows)), len(y) // 4)


def main() -> None:
    """Train all models, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--labels", type=int, default=100)
    arguments = parser.parse_args()
    images, labels = mnist(arguments.data_dir, "train")
    test_images, y_test = mnist(arguments.data_dir, "t10k")
    x, y = noisy(images[: arguments.rows], 0), labels[: arguments.rows, None].astype(int)
    x_test = noisy(test_images, 1)
    labelled = few(y, arguments.labels)
    joined_x = np.concatenate([x[labelled], x])
    joined_y = np.concatenate([y[labelled], np.full_like(y, -1)])

    rows = []
    for joined, weight, radius in (
        (False, 0.0, None),
        (False, 0.0, RADIUS),
        (True, WEIGHT, None),
        (True, WEIGHT, RADIUS),
    ):
        given = (joined_x, joined_y) if joined else (x[labelled], y[labelled])
        loss = fl.inference.hybrid_loss(weight=weight, radius=radius)
        log_p_y, log_p_x, seconds = trained(*given, x_test, loss, arguments)
        rows.append(
            [
                "all" if joined else "labelled",
                f"{weight * DIM:g} / dim",
                "–" if radius is None else f"{radius:g}",
                f"{np.mean(np.argmax(log_p_y, axis=1) != y_test):.2%}",
                f"{bits_per_dim(log_p_x):.3f}" if weight else "–",
                f"{seconds / 60:.1f}",
            ]
        )
        print(*rows[-1], flush=True)
    header = ["images", "λ", "radius", "test error", "bits/dim", "minutes"]
    text = f"""# MNIST with {arguments.labels} labels

{markdown_table(header, rows)}

Loss -log p(y|x) - λ log p(x), and the change of p(y|x) within the radius; {len(x):,} images,
{arguments.epochs} epochs in batches of 100, a fifth of whose rows have a label where all images are
seen. The same number of labels of each class, one seed.

{environment()}
"""
    print(text)
    (arguments.results / "few_labels.md").write_text(text)


if __name__ == "__main__":
    main()
