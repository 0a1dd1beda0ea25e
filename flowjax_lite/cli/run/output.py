"""What a run writes: history and pictures on the way, and the run directory at its end."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.experimental import multihost_utils

import flowjax_lite as fl
from flowjax_lite.cli import config as configs
from flowjax_lite.cli.report import Score, number, with_error
from flowjax_lite.cli.run import directory as run
from flowjax_lite.cli.run.experiment import IMAGE_BATCH, Experiment, Outcome, sample
from flowjax_lite.data import join
from flowjax_lite.distributions import Dequantized, Flow
from flowjax_lite.training import Callback, LogFile, Progress, TensorBoard

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_POINTS = 2000
DPI = 150


def callbacks(experiment: Experiment) -> list[Callback]:
    """Return what writes the history and the pictures that a config asks for.

    Args:
        experiment: What is trained; its `progress_dir` is made with the first epoch. Of several
            processes the first one writes.

    Raises:
        ImportError: A package for them is missing.
    """
    directory, training = experiment.config.progress_dir, experiment.config.training
    writers: list[Callback] = [LogFile(directory / run.PROGRESS)]
    if training["csv"]:
        writers.append(LogFile(directory / run.TABLE))
    if training["tensorboard"]:
        writers.append(TensorBoard(directory / run.BOARD))
    if jax.process_index() > 0:
        writers = []
    if training["pictures_every"] is not None:
        writers.append(partial(_draw_epoch, experiment))
    return writers


def _draw_epoch(experiment: Experiment, progress: Progress) -> None:
    """Draw samples of the flow as it is, where a picture is due after this epoch."""
    config, epoch, flow = experiment.config, progress.epoch + 1, progress.flow
    if epoch % config.training["pictures_every"]:
        return
    if jax.process_count() > 1:  # a part of it may lie with another process
        flow = multihost_utils.process_allgather(flow, tiled=True)
    if jax.process_index() > 0:
        return
    loss, other = progress.history["validation"][-1], config.other_loss
    if isinstance(flow, Dequantized):
        value = f"{number(loss, digits=3)} bits/dim"
    else:
        value = f"{number(loss)} ({other})" if other else f"{number(-loss)} nats"
    title = f"{experiment.title}: epoch {epoch}, validation {value}"
    directory = config.progress_dir / run.PICTURES
    directory.mkdir(parents=True, exist_ok=True)
    figure = _draw_samples(experiment, flow, title=title)
    figure.savefig(directory / f"epoch_{epoch:05d}.png", dpi=DPI)


def write(outcome: Outcome, scores: Sequence[Score]) -> None:
    """Write a trained experiment into its run directory, whole or not at all.

    What it wrote before its end moves there too, unless it was interrupted and may go on.

    Args:
        outcome: The trained experiment.
        scores: The scores of the flow and of the baselines.
    """
    experiment, result, score = outcome.experiment, outcome.result, outcome.score
    config, data = experiment.config, experiment.data
    title = f"{experiment.title}: test {with_error(score)} nats"
    if score.bits_per_dim is not None:
        title += f", {score.bits_per_dim:.3f} bits/dim"
    progress = None if result.interrupted else config.progress_dir
    with run.writing(config.run_dir, progress=progress) as directory:
        (directory / run.CONFIG).write_text(configs.dump(config), encoding="utf-8")
        (directory / run.METRICS).write_text(_metrics(outcome, scores), encoding="utf-8")
        fl.save(directory / run.MODEL, result.flow)
        pictures = {run.SAMPLES: _draw_samples(experiment, result.flow, title=title)}
        pictures[run.TRAINING] = fl.plot.training(
            result,
            loss=config.other_loss,
            title=f"{title} after {len(result.history['train'])} epochs, {outcome.seconds:.0f} s",
        )
        if data.dim == 2 and not data.condition_columns:
            rows = data.test.x[:NUM_POINTS]
            pictures[run.DENSITY] = fl.plot.density(
                result.flow, rows, columns=data.columns, title=title
            )
        for name, figure in pictures.items():
            figure.savefig(directory / name, dpi=DPI)


def _metrics(outcome: Outcome, scores: Sequence[Score]) -> str:
    """Return one line of JSON for each epoch, log-likelihoods in nats, and one for the result."""
    experiment, history = outcome.experiment, outcome.result.history
    data = experiment.data
    # A loss that is no likelihood is written as it is, under a name of its own.
    sign, suffix = (1, "_loss") if experiment.config.other_loss else (-1, "")
    epochs = zip(history["train"], history["validation"], history["seconds"], strict=True)
    lines: list[dict[str, Any]] = [
        {
            "epoch": epoch,
            f"train{suffix}": sign * float(train),
            f"validation{suffix}": sign * float(validation),
            "seconds": round(float(seconds), 6),
        }
        for epoch, (train, validation, seconds) in enumerate(epochs, start=1)
    ]
    section = experiment.config.data
    schema = None if section["schema"] is None else data.schema
    has_words = section["schema"] is not None or section["labels"] is not None
    given = data.condition_schema if has_words else None
    summary = run.Summary(
        best_epoch=outcome.result.best_epoch + 1,
        parameters=experiment.num_parameters,
        seconds=round(outcome.seconds, 3),
        columns=data.columns,
        condition_columns=data.condition_columns,
        num_levels=data.num_levels,
        image_shape=data.image_shape,
        schema=None if schema is None else schema.kinds,
        condition_schema=None if given is None else given.kinds,
    )
    lines.append(asdict(summary) | {"scores": [asdict(score) for score in scores]})
    return "".join(json.dumps(line) + "\n" for line in lines)


def _draw_samples(experiment: Experiment, flow: Flow | Dequantized, *, title: str) -> "Figure":
    """Draw data beside as many samples, under the same conditions where there are any."""
    data = experiment.data
    if data.image_shape is not None:
        rows = data.test[:IMAGE_BATCH]
    else:
        rows = join(data.test, data.validation, data.train)[:NUM_POINTS]
    num = len(rows) if rows.condition is None else 1
    seed = experiment.config.training["seed"]
    samples = sample(flow, num, seed=seed, condition=rows.condition)
    if data.image_shape is None:
        return fl.plot.pairs(rows.x, samples, columns=data.columns, title=title)
    held_out = rows.x.reshape(-1, *data.image_shape)
    images = as_images(flow, samples, data.image_shape)
    return fl.plot.images({"held-out images": held_out, "samples": images}, title=title)


def as_images(
    flow: Flow | Dequantized, samples: np.ndarray, image_shape: Sequence[int]
) -> np.ndarray:
    """Return samples of a flow as images `(num, *image_shape)` from 0 to 1."""
    levels = flow.num_levels - 1 if isinstance(flow, Dequantized) else 1
    return samples.reshape(-1, *image_shape) / levels
