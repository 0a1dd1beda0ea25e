"""What a run is made of: frozen dataclasses, read from YAML, overridden by command-line options."""

import contextlib
import dataclasses
import io
import math
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from flowjax_lite.cli import families, yaml_file
from flowjax_lite.cli.errors import CommandError, FieldError, did_you_mean, require
from flowjax_lite.cli.yaml_file import Entry

T = TypeVar("T")


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
    logit: float | None = None

    def __post_init__(self) -> None:
        require(self, "validation", 0 < self.validation < 1, "a fraction between 0 and 1")
        require(self, "test", 0 < self.test < 1, "a fraction between 0 and 1")
        left = 1 - self.validation - self.test
        require(self, "test", left > 0, f"below {1 - self.validation:g}, so that rows are left")
        require(self, "num", self.num >= 10, "at least 10")
        require(self, "noise_copies", self.noise_copies >= 1, "at least 1")
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
    base: str | None = None
    gradient: str | None = None
    compute_dtype: str | None = None

    def __post_init__(self) -> None:
        families.check(self.family, self.given())
        for field, value in self.given().items():
            if isinstance(value, int | float):
                require(self, field, value > 0, "a positive number")
        for field in ("hidden", "integrand_hidden"):
            widths = getattr(self, field)
            right = widths is None or (widths != () and min(widths) > 0)
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
        learning_rate: The peak learning rate.
        batch_size: The rows in a batch.
        max_epochs: The largest number of passes over the training rows.
        patience: The epochs without a better validation loss after which training stops.
        seed: The seed of the flow's parameters and of the shuffling.
    """

    learning_rate: float = 1e-3
    batch_size: int = 256
    max_epochs: int = 100
    patience: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        positive = 0 < self.learning_rate < math.inf
        require(self, "learning_rate", positive, "a positive number")
        for field in ("batch_size", "max_epochs", "patience"):
            require(self, field, getattr(self, field) >= 1, "at least 1")


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
        simple = self.name not in ("", ".", "..") and not set(self.name) & set("/\\\0")
        require(self, "name", simple, "a plain file name, because it names the run's directory")

    @property
    def run_dir(self) -> Path:
        """Return the run's directory."""
        return Path(self.output) / self.name


def load(path: str | Path) -> Config:
    """Read a config file.

    Args:
        path: The YAML file.

    Returns:
        The config.

    Raises:
        CommandError: The file cannot be read, or a key is unknown, duplicate, missing or holds a
            value of the wrong type or range. The message names file, line and key.
    """
    return _dataclass(Config, yaml_file.read(path), prefix="")


def override(config: Config, arguments: Sequence[str]) -> Config:
    """Replace fields by command-line arguments such as `--training.learning-rate 1e-4`.

    Args:
        config: The config to start from.
        arguments: The arguments.

    Returns:
        The new config.

    Raises:
        CommandError: An argument is unknown or its value does not fit.
    """
    if not arguments:
        return config
    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            return tyro.cli(Config, default=config, args=arguments, add_help=False)
    except SystemExit:
        raise CommandError(_message(said.getvalue())) from None


def dump(config: Config) -> str:
    """Return YAML text from which `load` builds an equal config."""
    return yaml_file.dump(dataclasses.asdict(config))


def keys() -> list[str]:
    """Return every key of a config as a command-line option with its type."""
    hints = {}
    for field, hint in typing.get_type_hints(Config).items():
        section = typing.get_type_hints(hint) if dataclasses.is_dataclass(hint) else {}
        hints.update({f"{field}.{key}": each for key, each in section.items()} or {field: hint})
    options = {f"--{key.replace('_', '-')}": _expected(hint) for key, hint in hints.items()}
    width = max(map(len, options))
    return [f"{option.ljust(width)}  {expected}" for option, expected in options.items()]


def _dataclass(cls: type[T], entry: Entry, *, prefix: str) -> T:
    """Build a dataclass from a mapping; `prefix` is the key of the mapping, with a dot."""
    if not isinstance(entry.value, dict):
        raise entry.error(f"{prefix.rstrip('.')}: expected a section of keys, got {_got(entry)}")
    hints = typing.get_type_hints(cls)
    for key, value in entry.value.items():
        if key not in hints:
            where = f"section {prefix.rstrip('.')!r}" if prefix else "the top level"
            hint = did_you_mean(key, hints) or f"; {where} takes {', '.join(hints)}"
            raise value.error(f"unknown key {prefix + key!r}{hint}")
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        required = field.default is dataclasses.MISSING
        if required and field.name not in entry.value:
            raise entry.error(f"missing key {prefix + field.name!r}: add it")
    values = {
        key: _convert(value, hints[key], key=prefix + key) for key, value in entry.value.items()
    }
    try:
        return cls(**values)
    except FieldError as error:
        place = entry.value.get(error.field, entry)
        raise place.error(f"{prefix}{error}") from None


def _convert(entry: Entry, hint: Any, *, key: str) -> Any:
    """Return the value of an entry as the type of a field, or raise an error with its place."""
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast(type, hint), entry, prefix=f"{key}.")
    choices = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for choice in choices:
        if typing.get_origin(choice) is tuple and isinstance(entry.value, tuple):
            item = typing.get_args(choice)[0]
            return tuple(_convert(each, item, key=key) for each in entry.value)
        if choice is float and type(entry.value) is int:
            return float(entry.value)
        if type(entry.value) is choice:
            return entry.value
    quotes = ": put it in quotes" if str in choices and type(entry.value) in (int, float) else ""
    raise entry.error(f"{key}: expected {_expected(hint)}, got {_got(entry)}{quotes}")


def _expected(hint: Any) -> str:
    """Return a type in words."""
    if isinstance(hint, types.UnionType):
        choices = [choice for choice in typing.get_args(hint) if choice is not types.NoneType]
        return " or ".join(map(_expected, choices))
    if typing.get_origin(hint) is tuple:
        return {int: "a list such as [64, 64]", str: "a list such as [a, b]"}[
            typing.get_args(hint)[0]
        ]
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[hint]


def _got(entry: Entry) -> str:
    """Return a value and its kind in words."""
    value = entry.plain()
    if isinstance(value, dict):
        return "a section of keys"
    if isinstance(value, tuple):
        return f"the list {list(value)}"
    kinds = {bool: "a truth value", int: "a whole number", float: "a number", str: "text"}
    return "nothing" if value is None else f"{value!r} ({kinds[type(value)]})"


def _message(said: str) -> str:
    """Return what tyro says, without the frame: a title, a message, and perhaps a suggestion."""
    parts = [" ".join(part.split()) for part in re.split(r"\n\W*[-─]{5,}\W*\n", said)]
    if len(parts) == 1:
        return parts[0]
    suggestions = [part for part in parts[2:] if part.startswith("Perhaps")]
    return ". ".join([parts[1], *suggestions])
