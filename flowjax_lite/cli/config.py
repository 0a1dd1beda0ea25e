"""What a run is made of: frozen dataclasses, with their defaults and limits."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flowjax_lite as fl
from flowjax_lite.cli import families
from flowjax_lite.cli.errors import require
from flowjax_lite.data import CHECKS

# Of layers, widths and the like: where products of sizes overflow, XLA ends the process.
_MAX_SIZE = 1_000_000


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
    validation: float = 0.1
    test: float = 0.1
    num: int = 10_000
    noise_copies: int = 1
    checks: str = "error"
    logit: float | None = None

    def __post_init__(self) -> None:
        require(self, "validation", 0 < self.validation < 1, "a fraction between 0 and 1")
        require(self, "test", 0 < self.test < 1, "a fraction between 0 and 1")
        left = 1 - self.validation - self.test
        require(self, "test", left > 0, f"below {1 - self.validation:g}, so that rows are left")
        require(self, "num", 10 <= self.num <= 10**8, "from 10 to 100 million")
        families.check_name("checks", self.checks, CHECKS)
        require(self, "noise_copies", 1 <= self.noise_copies <= 10**4, "from 1 to 10,000")
        ok = self.logit is None or 0 < self.logit < 0.5
        require(self, "logit", ok, "a number between 0 and 0.5, or nothing")


@dataclass(frozen=True)
class FlowConfig:
    """Which flow. A field left out means the default of the family.

    Args:
        family: The name of the flow, as in `flowjax_lite.flows.NAMED`.
        num_layers: The number of layers.
        hidden: The hidden widths of each layer's network.
        activation: The activation of the networks, by name.
        circular: The columns that are angles in [-π, π), counted from 0 (circular_nsf).
        num_bins: The number of spline bins (spline families).
        num_components: The number of components of each mixture (flowpp, gaussianization).
        transformer: The map of each entry: dsf or ddsf (naf).
        num_units: The number of sigmoids in a layer of that map (naf).
        num_sigmoid_layers: The number of such layers (naf).
        integrand_hidden: The hidden widths of the integrand (unaf).
        num_nodes: The number of nodes of the integral (unaf).
        num_polynomials: The number of squares (sos).
        degree: The degree of each polynomial (sos, bernstein).
        bound: The map acts on [-bound, bound] (splines, sos, bernstein).
        nonlinearity: How a layer bends space: tanh or leaky_relu (planar).
        form: How layers choose directions: orthogonal, householder or triangular (sylvester).
        rank: The number of directions of an orthogonal layer (sylvester).
        num_reflections: The number of reflections of a Householder layer (sylvester).
        coefficient: The bound of each network's Lipschitz constant (residual).
        log_det: How log-determinants are found in training: exact or series (residual).
        num_frequencies: The number of sines of the time (cnf).
        divergence: How training finds it: exact, hutchinson or hutch++ (continuous families).
        num_probes: The number of random probes of an estimate (continuous families).
        method: The method of the solver (continuous families, also for the following five).
        rtol: The relative tolerance of a step.
        atol: The absolute tolerance of a step.
        num_steps: The number of steps of a constant size; by default the tolerances decide.
        max_steps: The number of steps after which a solve has failed.
        adjoint: How gradients are found: replay, checkpoint, backsolve or direct.
        base: The base distribution, by name.
        gradient: What training keeps of each layer: store, recompute or invert.
        compute_dtype: The precision of the networks' products: float32, tensorfloat32 or bfloat16.
    """

    family: str
    num_layers: int | None = None
    hidden: tuple[int, ...] | None = None
    activation: str | None = None
    circular: tuple[int, ...] | None = None
    num_bins: int | None = None
    num_components: int | None = None
    transformer: str | None = None
    num_units: int | None = None
    num_sigmoid_layers: int | None = None
    integrand_hidden: tuple[int, ...] | None = None
    num_nodes: int | None = None
    num_polynomials: int | None = None
    degree: int | None = None
    bound: float | None = None
    nonlinearity: str | None = None
    form: str | None = None
    rank: int | None = None
    num_reflections: int | None = None
    coefficient: float | None = None
    log_det: str | None = None
    num_frequencies: int | None = None
    divergence: str | None = None
    num_probes: int | None = None
    method: str | None = None
    rtol: float | None = None
    atol: float | None = None
    num_steps: int | None = None
    max_steps: int | None = None
    adjoint: str | None = None
    base: str | None = None
    gradient: str | None = None
    compute_dtype: str | None = None

    def __post_init__(self) -> None:
        families.check(self.family, self.given())
        for field, value in self.given().items():
            if isinstance(value, int | float):
                require(self, field, value > 0, "a positive number")
            if isinstance(value, int):
                require(self, field, value <= _MAX_SIZE, f"at most {_MAX_SIZE:,}")
        for field in ("hidden", "integrand_hidden"):
            widths = getattr(self, field)
            right = widths is None or (widths != () and 0 < min(widths) <= max(widths) <= _MAX_SIZE)
            require(self, field, right, "widths such as [64, 64]")

    def given(self) -> dict[str, Any]:
        """Return the options that are not left to the family."""
        fields = dataclasses.asdict(self)
        del fields["family"]
        return {key: value for key, value in fields.items() if value is not None}


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

    loss: str = "likelihood"
    learning_rate: float = 1e-3
    schedule: str = "cosine"
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
        families.check_name("loss", self.loss, families.LOSSES)
        families.check_name("schedule", self.schedule, fl.training.SCHEDULES)
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
        return self.loss in families.LIKELIHOODS


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
    def live_dir(self) -> Path:
        """Return the directory of what the run writes on its way, until it is done."""
        return self.run_dir.with_name(f"{self.name}.running")
