"""What can be seen of a run before its end: its history, and pictures of samples."""

from dataclasses import dataclass

import jax
import numpy as np
from jax.experimental import multihost_utils
from matplotlib.figure import Figure

import flowjax_lite as fl
from flowjax_lite.cli.report.score import number
from flowjax_lite.cli.run import batched
from flowjax_lite.cli.run import directory as run
from flowjax_lite.cli.run.experiment import Experiment
from flowjax_lite.data import Split, join
from flowjax_lite.distributions import Flow
from flowjax_lite.training import Callback, LogFile, Progress, TensorBoard

NUM_IMAGES = 64
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
    if training.csv:
        writers.append(LogFile(directory / run.TABLE))
    if training.tensorboard:
        writers.append(TensorBoard(directory / run.BOARD))
    if jax.process_index() > 0:
        writers = []
    if training.pictures_every is not None:
        writers.append(Pictures(experiment, training.pictures_every))
    return writers


@dataclass(frozen=True)
class Pictures:
    """A callback that draws samples of the flow as it is; every process of a run calls it.

    Args:
        experiment: What is trained.
        every: The epochs between pictures.
    """

    experiment: Experiment
    every: int

    def __call__(self, progress: Progress) -> None:
        """Draw the picture that is due after this epoch, if one is."""
        epoch, flow = progress.epoch + 1, progress.flow
        if epoch % self.every:
            return
        if jax.process_count() > 1:  # a part of it may lie with another process
            flow = multihost_utils.process_allgather(flow, tiled=True)
        if jax.process_index() > 0:
            return
        config, loss = self.experiment.config, progress.history["validation"][-1]
        value = -loss if config.training.likelihood else loss
        unit = "nats" if config.training.likelihood else f"({config.training.loss})"
        title = (
            f"{self.experiment.data.name}, {config.flow.family}: epoch {epoch}, "
            f"validation {number(value)} {unit}"
        )
        directory = config.progress_dir / run.PICTURES
        directory.mkdir(parents=True, exist_ok=True)
        figure = draw_samples(self.experiment, flow, title=title)
        figure.savefig(directory / f"epoch_{epoch:05d}.png", dpi=DPI)


def draw_samples(experiment: Experiment, flow: Flow, *, title: str) -> Figure:
    """Draw data beside as many samples, under the same conditions where there are any.

    Args:
        experiment: Whose data are drawn.
        flow: Whose samples are drawn.
        title: The title.
    """
    data, seed = experiment.data, experiment.config.training.seed
    if data.image_shape is not None:
        rows = data.test[:NUM_IMAGES]
        panels = {"held-out images": rows.x, "samples": _draw_like(rows, flow, seed=seed)}
        images = {name: x.reshape(-1, *data.image_shape) for name, x in panels.items()}
        return fl.plot.images(images, title=title)
    rows = join(data.test, data.validation, data.train)[:NUM_POINTS]
    samples = _draw_like(rows, flow, seed=seed)
    return fl.plot.pairs(rows.x, samples, columns=data.columns, title=title)


def _draw_like(rows: Split, flow: Flow, *, seed: int) -> np.ndarray:
    """Draw a sample for each row, given its condition if there is one."""
    num = len(rows) if rows.condition is None else 1
    return batched.sample(flow, num, seed=seed, condition=rows.condition)
