"""A config with its data and flow: checked, trained, and scored beside the baselines."""

import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

import flowjax_lite as fl
from flowjax_lite.baselines import Baseline, fit_gaussian, fit_kernels, fit_mixture
from flowjax_lite.cli.config import LOSSES, Config, DataConfig
from flowjax_lite.cli.report import score as report
from flowjax_lite.cli.report.score import Score
from flowjax_lite.cli.run import batched, build
from flowjax_lite.data import Dataset, Split
from flowjax_lite.diagnostics import ways
from flowjax_lite.distributions import Flow
from flowjax_lite.training import Callback

NUM_COUNTED = 200  # rows whose evaluations are counted


@dataclass(frozen=True)
class Experiment:
    """A config with its data and its untrained flow: all that can be checked has been.

    Args:
        config: The config.
        data: The data.
        flow: The flow, untrained.
    """

    config: Config
    data: Dataset
    flow: Flow

    @property
    def num_parameters(self) -> int:
        """The number of trained numbers."""
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(self.flow, nnx.Param)))


@dataclass(frozen=True)
class Outcome:
    """A trained experiment.

    Args:
        experiment: What was trained.
        result: The trained flow with its history.
        score: The log-likelihoods of the flow.
        seconds: How long training took, compilation included.
        failure: Why training ended before its time, if it did; the flow is the best until then.
    """

    experiment: Experiment
    result: fl.FitResult
    score: Score
    seconds: float
    failure: fl.DivergedError | None = None

    @property
    def still_improving(self) -> bool:
        """Whether training ended with its best epoch, because the epochs were used up."""
        last = self.experiment.config.training.max_epochs - 1
        ended = self.failure is None and not self.result.interrupted
        return ended and self.result.best_epoch == last > 0


def load_data(config: DataConfig) -> Dataset:
    """Load the data that a config names.

    Raises:
        ValueError: The data are not what a density can be fitted to; the message says why.
    """
    options = dataclasses.asdict(config)
    del options["source"], options["logit"]
    data = fl.data.load(config.source, **options)
    build.check_logit(data, config)
    return data


def prepare(config: Config, data: Dataset) -> Experiment:
    """Build the flow of a config for its data."""
    flow = build.flow(config.flow, data, logit=config.data.logit, seed=config.training.seed)
    return Experiment(config, data, flow)


def train(
    experiment: Experiment,
    *,
    checkpoint: fl.Checkpoint | None = None,
    mesh: Mesh | None = None,
    callbacks: Sequence[Callback] = (),
) -> Outcome:
    """Fit the flow and score it on the three splits.

    Args:
        experiment: What to train.
        checkpoint: Where the run saves itself.
        mesh: The devices that share each batch.
        callbacks: What is called after each epoch.

    Raises:
        DivergedError: Training failed before any epoch was good.
    """
    training, data = experiment.config.training, experiment.data
    held_out = data.validation
    start = time.perf_counter()
    validation = held_out.x if held_out.condition is None else (held_out.x, held_out.condition)
    failure = None
    try:
        result = fl.fit(
            experiment.flow,
            data.train.x,
            condition=data.train.condition,
            key=jax.random.key(training.seed),
            loss=LOSSES[training.loss],
            optimizer=training.optimizer,
            batch_size=training.batch_size,
            max_epochs=training.max_epochs,
            patience=training.patience,
            ema=training.ema,
            validation=validation,
            callbacks=callbacks,
            checkpoint=checkpoint,
            mesh=mesh,
            checks="off",  # they were checked where they were loaded, and their columns had names
            progress=sys.stderr.isatty(),
        )
    except fl.DivergedError as error:
        if error.result.best_epoch < 0:
            raise
        result, failure = error.result, error
    seconds = time.perf_counter() - start
    log_prob = {
        name: batched.log_prob(result.flow, split.x, split.condition)
        for name, split in splits(data).items()
    }
    config = experiment.config
    note = f"{config.flow.family}, {experiment.num_parameters:,} parameters, {seconds:.0f} s"
    if failure:
        note += f", training failed after {len(result.history['train'])} epochs"
    if result.interrupted:
        note += f", interrupted after {len(result.history['train'])} epochs"
    if fl.continuous.solvers(result.flow):
        test = data.test[:NUM_COUNTED]
        evaluations = ways(result.flow, test.x, test.condition).num_evaluations
        note += f", {np.mean(evaluations):.0f} evaluations of the velocity for a density"
    flow_score = score(
        log_prob, data, name=config.name, note=note, parameters=experiment.num_parameters
    )
    return Outcome(experiment, result, flow_score, seconds, failure)


def baseline_scores(data: Dataset, *, logit: float | None) -> list[Score]:
    """Return the scores of three baselines on the same splits."""
    rows = {name: build.examples(split, logit=logit) for name, split in splits(data).items()}
    train, validation = rows["train"], rows["validation"]
    baselines: tuple[Baseline, ...] = (
        fit_gaussian(train, validation=validation),
        fit_kernels(train, validation=validation),
        fit_mixture(train, validation=validation),
    )
    scores = []
    for baseline in baselines:
        log_prob = {
            name: baseline.log_prob(examples) for name, examples in rows.items() if name != "train"
        }
        log_prob["train"] = baseline.train_log_prob(train)
        name, note, parameters = baseline.name, baseline.note, baseline.num_parameters
        scores.append(score(log_prob, data, name=name, note=note, parameters=parameters))
    return scores


def score(log_prob: Mapping[str, np.ndarray], data: Dataset, **described: Any) -> Score:
    """Return a score, with bits per dimension where the data are images of grey levels."""
    images = data.num_levels is not None
    bits = float(data.bits_per_dim(np.mean(log_prob["test"]))) if images else None
    return Score.of(log_prob, bits_per_dim=bits, **described)


def describe(experiment: Experiment) -> str:
    """Return one line on the data and the flow."""
    data = experiment.data
    rows = "/".join(str(len(split)) for split in splits(data).values())
    given = f" given {len(data.condition_columns)}" if data.condition_columns else ""
    return (
        f"{data.name}: {rows} training/validation/test rows of {data.dim} columns{given}; "
        f"{experiment.config.flow.family} with {experiment.num_parameters:,} parameters"
    )


def splits(data: Dataset) -> dict[str, Split]:
    """Return the three splits by name."""
    return dict(zip(report.SPLITS, (data.train, data.validation, data.test), strict=True))
