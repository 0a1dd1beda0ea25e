"""What a run is made of: frozen dataclasses, with their defaults and limits."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import flowjax_lite as fl
from flowjax_lite.cli.config.flow import FlowConfig
from flowjax_lite.cli.config.options import check_choices, require
from flowjax_lite.data import CHECKS
from flowjax_lite.losses import Loss

LOSSES: dict[str, Loss] = {
    "likelihood": fl.negative_log_likelihood,
    "regularized_likelihood": fl.regularized_likelihood(),
    "flow_matching": fl.flow_matching(),
    "optimal_transport": fl.flow_matching(coupling="optimal_transport"),
}
# Those whose value on rows held out is a negative log-likelihood.
LIKELIHOODS = ("likelihood", "regularized_likelihood")


@dataclass(frozen=True)
class DataConfig:
    """Which data, and how it is split.

    Args:
        source: A named data set such as `digits` or `moons`, or the path of a file.
        data_dir: Where named sets that are not embedded lie.
        seed: The seed of the split (and of the draw, for toy data).
        columns: The columns to model; all by default.
        condition_columns: The columns to condition on.
        array: The array to take from an `.npz` file with several.
        schema: For csv and parquet files with words, blanks or whole numbers: find out what each
            column holds. Words become the condition, or are left out where condition_columns does
            not name them; whole numbers get noise, and are whole again in samples.
        missing: With a schema, what happens to rows without a value: error names the columns, drop
            leaves the rows out.
        validation: The fraction of rows kept for validation.
        test: The fraction of rows kept for the test.
        num: The number of rows to draw from a toy density.
        noise_copies: How often each training image of `digits` appears, with noise of its own.
        checks: What happens to data that no density fits: error, warn or off.
        logit: For data in [0, 1]: model logit(logit + (1 - 2 logit) x) instead of x.
    """

    source: str
    data_dir: str | None = None
    seed: int = 0
    columns: tuple[str, ...] | None = None
    condition_columns: tuple[str, ...] | None = None
    array: str | None = None
    schema: Literal["auto"] | None = None
    missing: Literal["error", "drop"] = "error"
    validation: float = 0.1
    test: float = 0.1
    num: int = 10_000
    noise_copies: int = 1
    checks: Annotated[str, tuple(CHECKS)] = "error"
    logit: float | None = None

    def __post_init__(self) -> None:
        check_choices(self)
        require(self, "validation", 0 < self.validation < 1, "a fraction between 0 and 1")
        require(self, "test", 0 < self.test < 1, "a fraction between 0 and 1")
        left = 1 - self.validation - self.test
        require(self, "test", left > 0, f"below {1 - self.validation:g}, so that rows are left")
        require(self, "num", 10 <= self.num <= 10**8, "from 10 to 100 million")
        require(self, "noise_copies", 1 <= self.noise_copies <= 10**4, "from 1 to 10,000")
        ok = self.logit is None or 0 < self.logit < 0.5
        require(self, "logit", ok, "a number between 0 and 0.5, or nothing")


@dataclass(frozen=True)
class TrainingConfig:
    """How the flow is fitted.

    Args:
        loss: What is minimised, by name: likelihood, or for continuous families
            regularized_likelihood, flow_matching or optimal_transport, which is flow matching
            with that coupling.
        learning_rate: The peak learning rate.
        schedule: How it falls after the warm-up: cosine, linear, exponential or constant.
        warmup: The part of all steps in which it rises.
        clip: The largest norm of the gradient.
        weight_decay: Of the kernels of networks.
        accumulate: The batches whose gradients make one update.
        ema: The decay of a moving average of the parameters, which is then what is kept.
        batch_size: The rows in a batch.
        max_epochs: The largest number of passes over the training rows.
        patience: The epochs without a better validation loss after which training stops.
        checkpoint_every: The steps between checkpoints, from which `fit --resume` goes on.
        csv: Whether the history is also written as a table, progress.csv.
        tensorboard: Whether it is also written for TensorBoard.
        pictures_every: The epochs between pictures of samples; none by default.
        seed: The seed of the flow's parameters and of the shuffling.
    """

    loss: Annotated[str, tuple(LOSSES)] = "likelihood"
    learning_rate: float = 1e-3
    schedule: Annotated[str, tuple(fl.training.SCHEDULES)] = "cosine"
    warmup: float = 0.05
    clip: float = 5.0
    weight_decay: float = 0.0
    accumulate: int = 1
    ema: float | None = None
    batch_size: int = 256
    max_epochs: int = 100
    patience: int = 20
    checkpoint_every: int = 1000
    csv: bool = False
    tensorboard: bool = False
    pictures_every: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        require(self, "warmup", 0 <= self.warmup < 1, "a part from 0 to below 1")
        require(self, "clip", 0 < self.clip < math.inf, "a positive number")
        require(self, "ema", self.ema is None or 0 < self.ema < 1, "between 0 and 1, or nothing")
        require(self, "weight_decay", 0 <= self.weight_decay < math.inf, "at least 0")
        positive = 0 < self.learning_rate < math.inf
        require(self, "learning_rate", positive, "a positive number")
        for field in ("batch_size", "max_epochs", "patience", "accumulate", "checkpoint_every"):
            require(self, field, getattr(self, field) >= 1, "at least 1")
        seldom = self.pictures_every is None or self.pictures_every >= 1
        require(self, "pictures_every", seldom, "at least 1, or nothing")

    @property
    def optimizer(self) -> fl.AdamW:
        """The optimizer of `fit`."""
        return fl.AdamW(
            self.learning_rate,
            schedule=self.schedule,
            warmup=self.warmup,
            clip=self.clip,
            weight_decay=self.weight_decay,
            accumulate=self.accumulate,
        )

    @property
    def likelihood(self) -> bool:
        """Whether the loss of rows held out is a negative log-likelihood."""
        return self.loss in LIKELIHOODS


@dataclass(frozen=True)
class Config:
    """A run: data, flow, training, and the directory `output/name` that receives the results.

    Args:
        name: The name of the run.
        data: The data and its split.
        flow: The flow.
        training: The training.
        output: The directory that holds the run's directory.
    """

    name: str
    data: DataConfig
    flow: FlowConfig
    training: TrainingConfig = TrainingConfig()
    output: str = "runs"

    def __post_init__(self) -> None:
        # Nothing but a name: no path out of the output, and no control character.
        simple = self.name not in ("", ".", "..") and not set(self.name) & set("/\\")
        simple = simple and self.name.isprintable()
        require(self, "name", simple, "a plain file name, because it names the run's directory")

    @property
    def run_dir(self) -> Path:
        """Return the run's directory."""
        return Path(self.output) / self.name

    @property
    def progress_dir(self) -> Path:
        """Return the directory of what the run writes before it is done."""
        return self.run_dir.with_name(f"{self.name}.running")
