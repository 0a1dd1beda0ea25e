"""The picture of the README: what image flows make, from what `images.py` kept.

python benchmarks/images_picture.py
"""

import json
from pathlib import Path

import numpy as np
from images import COLUMNS, EXPERIMENTS, unpacked
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
SHAPES = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}


def kept(data: str) -> dict[str, np.ndarray]:
    """Samples, a way between two images, and halves filled in, of the flow that is shown."""
    flows = json.loads((RESULTS / f"images_{data}.json").read_text())
    shown = flows[EXPERIMENTS[data].shown]
    samples = unpacked(shown["samples"]).reshape(2, COLUMNS, *SHAPES[data])
    between, filled = unpacked(shown["uses"]).reshape(2, COLUMNS, *SHAPES[data])
    return {
        f"samples, {data}": samples,
        "between two": between[None],
        "lower halves": filled[None],
    }


def main() -> None:
    """Draw and write it."""
    figure = Figure(figsize=(10, 2.9), layout="constrained")
    for side, data in zip(figure.subfigures(1, 2), SHAPES, strict=True):
        panels = kept(data)
        heights = [len(rows) for rows in panels.values()]
        axes = side.subplots(len(panels), 1, height_ratios=heights)
        for each, (name, rows) in zip(axes, panels.items(), strict=True):
            tiles = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
            each.imshow(tiles.squeeze(), cmap="gray", vmin=0, vmax=255)
            each.set(xticks=[], yticks=[])
            each.set_title(name, fontsize=9)
    path = Path(__file__).parents[1] / "docs" / "_static" / "images.png"
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
