"""A MAF of the digits, distilled into an IAF that samples in one pass (arXiv:1711.10433).

    python benchmarks/distillation.py
    python benchmarks/distillation.py --epochs 1 --steps 100 --results /tmp

The teacher is the MAF of `coupling_vs_autoregressive.py`, trained on data. The student sees no
data: `fl.distillation` scores its samples by the teacher.
"""

import argparse
import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np
from common import environment, markdown_table, train_on_samples
from coupling_vs_autoregressive import digits
from flax import nnx
from jax import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from timing import interleaved

import flowjax_lite as fl
from flowjax_lite.cli.run import experiment

SAMPLES, BATCH, EVALUATION = 256, 1000, 20_000
GRID = 8  # images along each side of a picture


@jax.jit
def divergence(student: fl.Flow, teacher: fl.Flow, key: Array) -> Array:
    """log q - log p of many samples of the student."""
    x, log_q = student.sample_and_log_prob(key, (EVALUATION,))
    return log_q - teacher.log_prob(x)


def rates(flows: dict[str, fl.Flow], repeats: int) -> dict[tuple[str, int], float]:
    """Samples per second of each flow, one at a time and in batches."""
    sample = jax.jit(lambda flow, key, num: flow.sample(key, (num,)), static_argnums=2)
    key = jax.random.key(0)
    calls = {
        (name, num): functools.partial(sample, flow, key, num)
        for name, flow in flows.items()
        for num in (1, BATCH)
    }
    times = interleaved(calls, repeats, jax.block_until_ready)
    return {(name, num): 1e3 * num / ms for (name, num), ms in times.items()}


def draw(images: dict[str, np.ndarray], losses: np.ndarray) -> Figure:
    """Images (GRID², 64) in a square for each title, and the divergence during distillation."""
    figure = Figure(figsize=(4 * (len(images) + 1), 4.4), layout="constrained")
    *panels, curve = figure.subplots(1, len(images) + 1)
    for axes, (title, rows) in zip(panels, images.items(), strict=True):
        framed = np.pad(rows.reshape(GRID, GRID, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
        square = framed.swapaxes(1, 2).reshape(10 * GRID, 10 * GRID)
        axes.imshow(square, cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(title)
        axes.set_axis_off()
    _draw_losses(curve, losses)
    return figure


def _draw_losses(axes: Axes, losses: np.ndarray) -> None:
    """Means over a hundredth of the steps each, on a logarithmic scale."""
    parts = np.array_split(losses, min(len(losses), 100))
    ends = np.cumsum([len(part) for part in parts])
    axes.plot(ends, [part.mean() for part in parts], color="#0b3c5d")
    axes.set(xlabel="step", title="KL(student || teacher), nats", yscale="log")
    axes.minorticks_off()
    ticks = (1, 2, 5, 10, 20, 50, 100)
    axes.set_yticks(ticks, map(str, ticks))
    axes.spines[["top", "right"]].set_visible(False)


def table(flows: dict[str, fl.Flow], data: fl.data.Dataset, repeats: int) -> str:
    """Test likelihoods and sampling rates of the teacher and the student, and what they differ."""
    rate = rates(flows, repeats)
    log_probs = {name: experiment.log_prob(flow, data.test) for name, flow in flows.items()}
    rows = [
        [
            name,
            mean_and_error(log_prob),
            f"{data.bits_per_dim(log_prob.mean()):.3f}",
            *(f"{rate[name, num]:,.0f}" for num in (1, BATCH)),
        ]
        for name, log_prob in log_probs.items()
    ]
    teacher, student = flows
    lost = mean_and_error(log_probs[student] - log_probs[teacher])
    faster = [f"× {rate[student, num] / rate[teacher, num]:.1f}" for num in (1, BATCH)]
    header = [
        "digits, 8 × 8",
        "test log-likelihood (nats)",
        "bits/dim",
        "samples/s, one at a time",
        f"samples/s, batches of {BATCH}",
    ]
    return markdown_table(header, [*rows, ["student against teacher", lost, "", *faster]])


def mean_and_error(values: np.ndarray) -> str:
    """The mean of independent numbers and its standard error."""
    return f"{values.mean():.2f} ± {values.std() / np.sqrt(len(values)):.2f}"


def main() -> None:
    """Train both flows, and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8, help="of the teacher")
    parser.add_argument("--layers", type=int, default=5, help="of the student")
    parser.add_argument("--steps", type=int, default=6000, help="of the student")
    parser.add_argument("--repeats", type=int, default=21, help="of each timed call")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()

    config = digits("maf", None)
    training = {**config.training, "max_epochs": arguments.epochs}
    config = dataclasses.replace(config, training=training)
    data = experiment.load_data(config.data)
    teacher = experiment.train(experiment.prepare(config, data)).result.flow

    # The last map, from logits to pixels, is fixed and both flows share it. Without it the
    # divergence is the same, and no sample is rounded to black or white on the way.
    layers, to_pixels = teacher.bijector.bijectors
    teacher_of_logits = fl.Flow(teacher.base, layers)
    student_of_logits = fl.flows.iaf(
        dim=data.dim,
        num_layers=arguments.layers,
        hidden=config.flow["hidden"],
        activation=config.flow["activation"],
        rngs=nnx.Rngs(0),
    )
    student_of_logits, losses = train_on_samples(
        student_of_logits,
        jax.random.key(0),
        teacher_of_logits,
        loss=fl.distillation(num_samples=SAMPLES),
        steps=arguments.steps,
        learning_rate=1e-3,
    )
    chain = fl.bijectors.Chain([student_of_logits.bijector, to_pixels])
    flows = {"teacher, maf": teacher, "student, iaf": fl.Flow(student_of_logits.base, chain)}
    values = np.asarray(divergence(student_of_logits, teacher_of_logits, jax.random.key(2)))

    text = "\n".join(
        [
            "# Distillation",
            "",
            table(flows, data, arguments.repeats),
            "",
            f"KL(student || teacher): {mean_and_error(values)} nats, from {EVALUATION:,} samples "
            f"of the student; {losses[0]:.1f} before distillation. The student saw no data: "
            f"{arguments.steps:,} steps on {SAMPLES} samples of its own. Its test log-likelihood "
            f"is the sequential direction of an IAF. The teacher keeps its network's activations, "
            f"so that a sample takes it the work of one pass too, in {data.dim} small steps a "
            f"layer.",
            "",
            environment(),
            "",
        ]
    )
    print(text)
    (arguments.results / "distillation.md").write_text(text)
    images = {"test images": data.test.x[: GRID**2]}
    for name, flow in flows.items():
        images[name] = np.asarray(flow.sample(jax.random.key(1), (GRID**2,)))
    draw(images, np.asarray(losses)).savefig(arguments.results / "distillation.png", dpi=150)


if __name__ == "__main__":
    main()
