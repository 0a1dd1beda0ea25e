"""A config: what is loaded, built and trained, and the directory that receives the results.

Each section holds arguments of a function, whose signature says their names, types and defaults:
`data` those of `flowjax_lite.data.load`, `flow` those of the factory of a family, and `training`
those of `AdamW`, of `fit`, and of `Extras`.
"""

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from flax import nnx

import flowjax_lite as fl
from flowjax_lite.cli.config import yaml_file
from flowjax_lite.cli.config.options import (
    REQUIRED,
    Option,
    OptionError,
    check_values,
    options_of,
    wrong,
)
from flowjax_lite.distributions import AbstractBase
from flowjax_lite.losses import Loss

# The configs of the repository, which an installed package holds too.
EXAMPLES = Path(fl.__file__).with_name("configs")
LOSSES: dict[str, Loss] = {
    "likelihood": fl.negative_log_likelihood,
    "regularized_likelihood": fl.regularized_likelihood(),
    "flow_matching": fl.flow_matching(),
    "optimal_transport": fl.flow_matching(coupling="optimal_transport"),
}
BASES: dict[str, Callable[[int, nnx.Rngs], AbstractBase]] = {
    "standard_normal": lambda dim, rngs: fl.distributions.StandardNormal(dim),
    "diagonal_normal": lambda dim, rngs: fl.distributions.DiagonalNormal(dim),
    "student_t": lambda dim, rngs: fl.distributions.StudentT(dim),
    "uniform": lambda dim, rngs: fl.distributions.Uniform(dim),
    "gaussian_mixture": lambda dim, rngs: fl.distributions.GaussianMixture(
        dim, num_components=10, rngs=rngs
    ),
}
# Names that stand for objects, and words that a type does not tell.
_CHOICES: dict[str, Collection[str]] = {
    "base": BASES,
    "activation": fl.conditioners.ACTIVATIONS,
    "loss": LOSSES,
    "schedule": fl.training.SCHEDULES,
    "checks": fl.data.CHECKS,
    "schema": ("auto",),
    "missing": ("error", "drop"),
}
# What follows from the data and the seed.
_AUTOMATIC = {
    *("dim", "image_shape", "num_levels", "condition_dim"),
    *("data_map", "condition_map", "rngs"),
}
# Flows of vectors, and flows of images.
FLOWS = {**fl.flows.NAMED, **fl.flows.IMAGES}
# Numbers end below these: parts of a whole, and what would fill the memory.
_BELOW = {
    "data.validation": 1.0,
    "data.test": 1.0,
    "data.logit": 0.5,
    "flow.logit": 0.5,
    "data.num": 10**8 + 1,
    "data.noise_copies": 10**4 + 1,
    "training.ema": 1.0,
}
# Seeds, columns that are counted from 0, and what `AdamW` checks.
_ANY_NUMBER = ("seed", "circular", "warmup", "weight_decay")
# Of layers, widths and the like: where products of sizes overflow, XLA ends the process.
_MAX_SIZE = 10**6 + 1
_OF_OPTIMIZER = ("learning_rate", "schedule", "warmup", "clip", "weight_decay", "accumulate")
_OF_FIT = ("batch_size", "max_epochs", "patience", "ema")


@dataclass(frozen=True)
class Extras:
    """What a training section holds besides arguments of `AdamW` and `fit`.

    Args:
        loss: What is minimised, by name: likelihood, or for continuous families
            regularized_likelihood, flow_matching or optimal_transport, which is flow matching
            with that coupling.
        checkpoint_every: The steps between checkpoints, from which `fit --resume` goes on.
        csv: Whether the history is also written as a table, progress.csv.
        tensorboard: Whether it is also written for TensorBoard.
        pictures_every: The epochs between pictures of samples; none by default.
        seed: The seed of the flow's parameters and of the shuffling.
    """

    loss: str = "likelihood"
    checkpoint_every: int = 1000
    csv: bool = False
    tensorboard: bool = False
    pictures_every: int | None = None
    seed: int = 0


FAMILY = Option(
    "family",
    kinds=(str,),
    meaning="The name of the flow.",
    default=REQUIRED,
    choices=FLOWS,
    takes_none=False,
)
_LOGIT = "For data in [0, 1]: model logit(logit + (1 - 2 logit) x) instead of x."
_DATA = options_of(fl.data.load, _CHOICES) | {"logit": Option("logit", (float,), _LOGIT)}
_TRAINING = {
    **{name: options_of(fl.AdamW, _CHOICES)[name] for name in _OF_OPTIMIZER},
    **{name: options_of(fl.fit)[name] for name in _OF_FIT},
    **options_of(Extras, _CHOICES),
}


@cache
def flow_options(family: str) -> dict[str, Option]:
    """Return the options of a family that a config may give."""
    options = options_of(FLOWS[family], _CHOICES)
    return {name: option for name, option in options.items() if name not in _AUTOMATIC}


@cache
def all_options() -> dict[str, Option]:
    """Return every option of a config by its key, such as `training.seed`.

    Those of flows are the options of all families; the meaning says which take it, and a default
    that differs between them is left out.
    """
    options = {name: options_of(Config)[name] for name in ("name", "output")}
    options |= {f"data.{name}": option for name, option in _DATA.items()}
    options["flow.family"] = FAMILY
    families: dict[str, dict[str, Option]] = {}
    for family in FLOWS:
        for name, option in flow_options(family).items():
            families.setdefault(name, {})[family] = option
    for name, members in families.items():
        option, *others = members.values()
        if any(other.default != option.default for other in others):
            option = replace(option, default=None)
        if len(members) <= len(FLOWS) / 2:
            option = replace(option, meaning=f"{option.meaning} For {', '.join(members)}.")
        options[f"flow.{name}"] = option
    return options | {f"training.{name}": option for name, option in _TRAINING.items()}


@dataclass(frozen=True)
class Config:
    """A run: data, flow, training, and the directory `output/name` that receives the results.

    Args:
        name: The name of the run.
        data: Arguments of `flowjax_lite.data.load`, and `logit`.
        flow: The family, and arguments of its factory.
        training: Arguments of `AdamW`, `fit` and `Extras`.
        output: The directory that holds the run's directory.

    Raises:
        OptionError: A key is unknown or missing, or holds what it cannot take. Afterwards `data`
            and `training` hold every default; what is left out of `flow` follows its family.
    """

    name: str
    data: Mapping[str, Any]
    flow: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)
    output: str = "runs"

    def __post_init__(self) -> None:
        # Nothing but a name: no path out of the output, and no control character.
        simple = self.name not in ("", ".", "..") and not set(self.name) & set("/\\")
        if not simple or not self.name.isprintable():
            raise wrong("name", "a plain file name, as the name of the run's directory", self.name)
        for section in ("data", "flow", "training"):
            object.__setattr__(self, section, _section(section, getattr(self, section)))
        try:
            self.optimizer  # noqa: B018, its settings are checked there
        except ValueError as error:
            raise OptionError("training", f"training: {error}") from None

    @property
    def optimizer(self) -> fl.AdamW:
        """The optimizer of `fit`."""
        return fl.AdamW(**{name: self.training[name] for name in _OF_OPTIMIZER})

    @property
    def fit_options(self) -> dict[str, Any]:
        """What the section of the training holds for `fit`."""
        of_images = self.flow["family"] in fl.flows.IMAGES
        loss = fl.losses.bits_per_dim if of_images else LOSSES[self.training["loss"]]
        return {"loss": loss} | {name: self.training[name] for name in _OF_FIT}

    @property
    def other_loss(self) -> str | None:
        """The name of the loss, unless that of rows held out is a negative log-likelihood."""
        loss = self.training["loss"]
        return None if loss in ("likelihood", "regularized_likelihood") else loss

    @property
    def run_dir(self) -> Path:
        """Return the run's directory."""
        return Path(self.output) / self.name

    @property
    def progress_dir(self) -> Path:
        """Return the directory of what the run writes before it is done."""
        return self.run_dir.with_name(f"{self.name}.running")


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a config file.

    Args:
        path: The YAML file, or the name of one that the package brings, such as `digits_maf`.
        overrides: Values of a command line in place of those of the file, by keys of
            `all_options`.

    Returns:
        The config.

    Raises:
        ValueError: The file cannot be read, or a key is unknown, duplicate, missing or holds a
            value of the wrong type or range. The message names file, line and key.
    """
    values, places = yaml_file.read(_existing(Path(path)))
    for key, value in (overrides or {}).items():
        section, _, name = key.rpartition(".")
        entries = values.setdefault(section, {}) if section else values
        if isinstance(entries, dict):
            entries[name], places[key] = value, "command line"
    try:
        return Config(**check_values(values, options_of(Config)))
    except OptionError as error:
        key = error.key
        while key not in places:
            key = key.rpartition(".")[0]
        raise ValueError(f"{places[key]}: {error}") from None


def dump(config: Config) -> str:
    """Return YAML text from which `load` builds an equal config."""
    return yaml_file.dump(dataclasses.asdict(config))


def _existing(path: Path) -> Path:
    """Return a path, or that of the example which it names."""
    if path.exists() or path.suffix or path.name != str(path):
        return path
    example = EXAMPLES / f"{path}.yaml"
    if not example.exists():
        names = ", ".join(sorted(each.stem for each in EXAMPLES.glob("*.yaml")))
        raise ValueError(
            f"{path}: no such file; expected a YAML file, or an example of the package: {names}"
        )
    return example


def _section(section: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a section holds, checked, with the defaults of what it leaves out."""
    defaults: dict[str, Any] = {}
    if section == "flow":
        # Nothing means the default; earlier versions wrote it for options of other families, too.
        given = {name: value for name, value in given.items() if value is not None}
        if "family" not in given:
            raise OptionError("flow.family", "missing key 'flow.family': add it")
        options = {"family": FAMILY} | flow_options(FAMILY.check(given["family"], "flow.family"))
    else:
        options = _DATA if section == "data" else _TRAINING
        defaults = {name: option.default for name, option in options.items()}
    values = check_values(given, options, section)
    for name, value in values.items():
        if name not in _ANY_NUMBER:
            for number in value if isinstance(value, tuple) else (value,):
                _check_number(number, f"{section}.{name}")
            if section == "flow" and value == ():
                raise wrong(f"flow.{name}", "widths such as [64, 64]", value)
    return defaults | values


def _check_number(value: Any, key: str) -> None:
    """Raise an `OptionError` for a size that is none, or that would fill the memory."""
    if type(value) not in (int, float):
        return
    below: float = math.inf
    if type(value) is type(_BELOW.get(key)):  # a number of rows may stand for a fraction
        below = _BELOW[key]
    elif type(value) is int and key.startswith("flow."):
        below = _MAX_SIZE
    if not 0 < value < below:
        limit = f" and below {below:,}" if below < math.inf else ""
        raise wrong(key, f"a number above 0{limit}", value)
