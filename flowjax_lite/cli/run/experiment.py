"""A config with its data and flow: loaded, built, trained, and scored beside the baselines."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

import flowjax_lite as fl
from flowjax_lite.baselines import Baseline, Examples, fit_gaussian, fit_kernels, fit_mixture
from flowjax_lite.bijectors import AbstractBijector, Chain, Sigmoid, Standardize
from flowjax_lite.cli.config import Config, flow_options
from flowjax_lite.cli.config.options import OptionError
from flowjax_lite.cli.config.schema import BASES
from flowjax_lite.cli.report import Score
from flowjax_lite.core.checks import check_columns, check_memory
from flowjax_lite.data import Dataset, Split, join
from flowjax_lite.diagnostics import ways
from flowjax_lite.distributions import Dequantized, Flow
from flowjax_lite.training import Callback

BATCH = 1000  # rows that a flow is asked for at once
IMAGE_BATCH = 64  # samples of images that are drawn at once, as many as a picture shows
NUM_FIRST = 10_000  # rows that go through a new flow at once, all layers' numbers in memory
NUM_FIRST_IMAGES = 500  # the same, of a flow of images
MOST_COLUMNS = 500  # beyond, a mixture of full covariances takes longer than many a flow
NUM_COUNTED = 200  # rows whose evaluations are counted


@dataclass(frozen=True)
class Experiment:
    """A config with its data and its untrained flow: all that can be checked has been.

    Args:
        config: The config.
        data: The data.
        flow: The flow, untrained; of a family of images the distribution of their levels.
    """

    config: Config
    data: Dataset
    flow: Flow | Dequantized

    @property
    def num_parameters(self) -> int:
        """The number of trained numbers."""
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(self.flow, nnx.Param)))

    @property
    def title(self) -> str:
        """The names of the data and of the family."""
        return f"{self.data.name}, {self.config.flow['family']}"

    def __str__(self) -> str:
        data = self.data
        rows = "/".join(str(len(split)) for split in splits(data))
        given = f" given {len(data.condition_columns)}" if data.condition_columns else ""
        return (
            f"{data.name}: {rows} training/validation/test rows of {data.dim} columns{given}; "
            f"{self.config.flow['family']} with {self.num_parameters:,} parameters"
        )


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
    result: fl.FitResult[Any]
    score: Score
    seconds: float
    failure: fl.DivergedError | None = None


def splits(data: Dataset) -> tuple[Split, Split, Split]:
    """Return the three parts of a data set, in order."""
    return data.train, data.validation, data.test


def load_data(section: Mapping[str, Any]) -> Dataset:
    """Load the data that a `data` section names.

    Raises:
        ValueError: The data are not what a density can be fitted to; the message says why.
    """
    options = dict(section)
    logit = options.pop("logit")
    data = fl.data.load(**options)
    check_logit(data, logit)
    return data


def check_logit(data: Dataset, logit: float | None) -> None:
    """Raise a `ValueError` unless the data lie where the logit map is defined."""
    x = join(*splits(data)).x
    if logit is not None and not 0 <= x.min() <= x.max() <= 1:
        raise ValueError(
            f"data.logit: needs data in [0, 1]; {data.name} has values from {x.min():g} to "
            f"{x.max():g}"
        )


def prepare(config: Config, data: Dataset) -> Experiment:
    """Build the flow of a config, on the data's own units.

    Its training rows fix the maps to and from these units, and the layers that start from data.

    Raises:
        ValueError: The config does not fit the data.
    """
    of_images = config.flow["family"] in fl.flows.IMAGES
    flow = _image_flow(config, data) if of_images else _vector_flow(config, data)
    most = NUM_FIRST_IMAGES if of_images else NUM_FIRST
    first = events(flow, data.train[:: -(-len(data.train) // most)])
    return Experiment(config, data, fl.initialize(flow, first.x, first.condition))


def _image_flow(config: Config, data: Dataset) -> Dequantized:
    """Build the distribution of whole levels of a config with a family of images."""
    options: dict[str, Any] = dict(config.flow)
    family = options.pop("family")
    if data.image_shape is None or data.num_levels is None:
        raise OptionError(
            "flow.family",
            f"flow.family: {family} takes images of whole levels, which {data.name} is not; "
            "expected digits, or images of bytes in an idx, npy or npz file, whose classes "
            "data.labels may name",
        )
    if config.data["logit"] is not None:
        raise OptionError(
            "data.logit", f"data.logit: {family} maps pixels by itself: give flow.logit instead"
        )
    if config.training["loss"] != "likelihood":
        raise OptionError(
            "training.loss", f"training.loss: {family} takes likelihood, in bits per dimension"
        )
    height, width, *channels = data.image_shape
    shape = height, width, *(channels or [1])
    levels, rngs = data.num_levels, nnx.Rngs(config.training["seed"])
    if data.train.condition is not None:
        options["condition_dim"] = data.train.condition.shape[1]
    flow = fl.flows.IMAGES[family](image_shape=shape, num_levels=levels, rngs=rngs, **options)
    return Dequantized(flow, num_levels=levels)


def _vector_flow(config: Config, data: Dataset) -> Flow:
    """Build the flow of a config with a family of vectors, with the map to the data's units."""
    if len(data.event_shape) > 1:
        raise OptionError(
            "flow.family",
            f"flow.family: {config.flow['family']} takes rows of columns, and {data.name} has "
            f"events of shape {data.event_shape}; expected one of {', '.join(fl.flows.IMAGES)}",
        )
    rngs = nnx.Rngs(config.training["seed"])
    options: dict[str, Any] = dict(config.flow)
    family, logit = options.pop("family"), config.data["logit"]
    angles: tuple[int, ...] = ()  # which keep their units, because full turns mean something there
    if "circular" in flow_options(family):
        angles = check_columns(options.get("circular", range(data.dim)), data.dim, "circular")
        if logit is not None:
            raise ValueError(f"data.logit: {family} takes angles, which have no logits")
    if "base" in options:
        options["base"] = BASES[options["base"]](data.dim, rngs)
    condition = data.train.condition
    if condition is not None:
        options["condition_dim"] = condition.shape[1]
        options["condition_map"] = Standardize.from_data(condition)
    data_map: AbstractBijector = Standardize.from_data(examples(data.train, logit).x, keep=angles)
    if logit is not None:
        width = 1 - 2 * logit
        stretch = Standardize(data.dim, loc=-logit / width, scale=1 / width)
        data_map = Chain([data_map, Sigmoid(data.dim), stretch])
    return fl.flows.NAMED[family](dim=data.dim, data_map=data_map, rngs=rngs, **options)


def events(flow: Flow | Dequantized, rows: Split) -> Split:
    """Return rows as training takes them: of a `Dequantized` the levels, without their noise."""
    if not isinstance(flow, Dequantized):
        return rows
    levels = fl.data.quantize(rows.x, flow.num_levels)
    return Split(levels.reshape(len(rows), *flow.event_shape), rows.condition)


def density(flow: Flow | Dequantized, rows: Split) -> tuple[Flow, Split, float]:
    """Return a flow, rows in its units, and what makes its log-density one in units of the data.

    That of a `Dequantized` is asked for the levels with the noise that the rows have, as flows of
    vectors are, so that both compare.
    """
    if not isinstance(flow, Dequantized):
        return flow, rows, 0.0
    x = flow.num_levels * rows.x.reshape(len(rows), *flow.event_shape)
    log_det = math.prod(flow.event_shape) * math.log(flow.num_levels)
    return flow.flow, Split(x, rows.condition), log_det


def examples(split: Split, logit: float | None) -> Examples:
    """Move rows to the coordinates in which densities are fitted: with `logit`, to logits."""
    x = split.x.reshape(len(split), -1).astype(np.float64)
    condition = None if split.condition is None else split.condition.astype(np.float64)
    if logit is None:
        return Examples(x, condition)
    inside = logit + (1 - 2 * logit) * x
    log_det = np.log(1 - 2 * logit) - np.log(inside) - np.log1p(-inside)
    return Examples(np.log(inside) - np.log1p(-inside), condition, log_det.sum(1))


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
    config, data = experiment.config, experiment.data
    rows, held_out = (events(experiment.flow, part) for part in (data.train, data.validation))
    start = time.perf_counter()
    failure = None
    try:
        result = fl.fit(
            experiment.flow,
            rows.x,
            condition=rows.condition,
            key=jax.random.key(config.training["seed"]),
            optimizer=config.optimizer,
            validation=(held_out.x, held_out.condition),
            **config.fit_options,
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
    if isinstance(experiment.flow, Dequantized):  # from bits to nats, as of flows of vectors
        history = {name: tuple(data.nats(result.history[name])) for name in ("train", "validation")}
        result = replace(result, history={**result.history, **history})
    note = f"{config.flow['family']}, {experiment.num_parameters:,} parameters, {seconds:.0f} s"
    ended = "training failed" if failure else "interrupted" if result.interrupted else ""
    if ended:
        note += f", {ended} after {len(result.history['train'])} epochs"
    if fl.continuous.solvers(result.flow):
        flow, test, _ = density(result.flow, data.test[:NUM_COUNTED])
        evaluations = ways(flow, test.x, test.condition).num_evaluations
        note += f", {np.mean(evaluations):.0f} evaluations of the velocity for a density"
    values = log_prob(result.flow, join(*splits(data)))  # all of them in one compiled program
    parts = np.split(values, np.cumsum([len(data.train), len(data.validation)]))
    score = Score.of(parts, data, config.name, note, experiment.num_parameters)
    return Outcome(experiment, result, score, seconds, failure)


def baseline_scores(data: Dataset, logit: float | None) -> list[Score]:
    """Return the scores of the baselines on the same splits: three, two of many columns."""
    train, validation, test = (examples(split, logit) for split in splits(data))
    scores = []
    fits = (fit_gaussian, fit_kernels, fit_mixture)
    for fit in fits if data.dim <= MOST_COLUMNS else fits[:2]:
        baseline: Baseline = fit(train, validation=validation)
        held_out = baseline.log_prob(validation), baseline.log_prob(test)
        parts = [baseline.train_log_prob(train), *held_out]
        scores.append(Score.of(parts, data, baseline.name, baseline.note, baseline.num_parameters))
    return scores


def log_prob(flow: Flow | Dequantized, rows: Split) -> np.ndarray:
    """Return log-densities of rows in nats, `(n,)`, float64."""
    flow, rows, log_det = density(flow, rows)
    values = flow.log_prob(rows.x, rows.condition, batch_size=BATCH)
    return np.asarray(values, np.float64) + log_det


def sample(
    flow: Flow | Dequantized, num: int, *, seed: int, condition: np.ndarray | None = None
) -> np.ndarray:
    """Draw many samples, a batch at a time.

    Args:
        flow: The flow.
        num: The number of samples for each condition.
        seed: The seed.
        condition: Conditions, `(n, c)`, or None.

    Returns:
        Samples, `(num, *event_shape)`, or `(n * num, *event_shape)` where those of one condition
        follow each other; of a `Dequantized` whole levels.

    Raises:
        ValueError: They do not fit in memory.
    """
    total = num if condition is None else num * len(condition)
    check_memory(4 * total * math.prod(flow.event_shape), f"{total:,} samples")
    size = IMAGE_BATCH if isinstance(flow, Dequantized) else BATCH
    for index, start in enumerate(range(0, total, size)):
        key = jax.random.fold_in(jax.random.key(seed), index)
        if condition is None:
            drawn = flow.sample(key, size)
        else:  # The last batch is a full one, too, so that all of them run in one program.
            rows = np.arange(start, start + size) % total
            drawn = flow.sample(key, (), condition[rows // num])
        if not start:
            samples = np.empty((total, *flow.event_shape), drawn.dtype)
        samples[start : start + size] = drawn[: total - start]
    return samples
