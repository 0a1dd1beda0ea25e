import dataclasses
import inspect
from pathlib import Path

import pytest

import flowjax_lite as fl
from flowjax_lite.cli import config as configs
from flowjax_lite.cli.config import Config
from flowjax_lite.cli.config.schema import FLOWS

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
GOOD = """\
name: good
data:
  source: moons
flow:
  family: nsf_coupling
  hidden: [16, 16]
training:
  learning_rate: 1e-3
"""


def _load(tmp_path: Path, text: str, overrides: dict[str, object] | None = None) -> Config:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return configs.load(path, overrides)


def test_values_arrive_with_their_types(tmp_path: Path) -> None:
    """Would catch a learning rate that stays text, a list in a frozen config, lost defaults."""
    assert _load(tmp_path, GOOD) == Config(
        name="good",
        data={"source": "moons"},
        flow={"family": "nsf_coupling", "hidden": (16, 16)},
        training={"learning_rate": 0.001},
    )


def test_the_data_section_takes_what_load_takes(tmp_path: Path) -> None:
    """Would catch an argument of `data.load` that no config can give, or another default."""
    parameters = inspect.signature(fl.data.load).parameters
    data = _load(tmp_path, GOOD).data
    assert set(data) == {*parameters, "logit"}
    for name, parameter in parameters.items():
        assert name == "source" or data[name] == parameter.default
    counted = _load(tmp_path, GOOD, {"data.validation": 50, "data.test": 0.2}).data
    assert (counted["validation"], type(counted["validation"])) == (50, int)
    assert counted["test"] == 0.2


def test_the_training_section_has_the_defaults_of_fit(tmp_path: Path) -> None:
    """Would catch a default of the command line that is not that of the library."""
    training = _load(tmp_path, GOOD[: GOOD.index("training:")]).training
    for function in (fl.AdamW, fl.fit):
        for name, parameter in inspect.signature(function).parameters.items():
            if name in training and (function, name) != (fl.fit, "learning_rate"):
                assert name == "loss" or training[name] == parameter.default
    assert _load(tmp_path, GOOD, {"training.patience": None}).training["patience"] is None


def test_whole_numbers_are_numbers(tmp_path: Path) -> None:
    """Would catch a bound of 5 rejected or kept as an int, which JAX would treat differently."""
    bound = _load(tmp_path, GOOD.replace("hidden: [16, 16]", "bound: 5")).flow["bound"]
    assert bound == 5.0
    assert type(bound) is float


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "source",
            "sorce",
            r"c.yaml:3: unknown key 'data.sorce'. Did you mean source\? Keys of data: source",
        ),
        ("training", "trainign", r"c.yaml:7: unknown key 'trainign'. Did you mean training\?"),
        ("name:", "zzz:", r"c.yaml:1: unknown key 'zzz'. Keys of a config: name, data"),
        ("name: good\n", "", r"c.yaml:1: missing key 'name'"),
        ("  family: nsf_coupling\n", "", r"c.yaml:4: missing key 'flow.family'"),
        ("good", "12", r"c.yaml:1: name: expected text in quotes, got 12"),
        ("good", "a/b", r"c.yaml:1: name: expected a plain file name.* got 'a/b'"),
        ("1e-3", "fast", r"c.yaml:8: training.learning_rate: expected a number, got 'fast'"),
        ("1e-3", "-1", r"c.yaml:8: training.learning_rate: expected a number above 0, got -1.0"),
        ("1e-3", ".inf", r"c.yaml:8: training.learning_rate: expected a number, got '.inf'"),
        ("1e-3", "true", r"c.yaml:8: training.learning_rate: expected a number, got True"),
        ("1e-3", "", r"c.yaml:8: training.learning_rate: expected a number, got nothing"),
        (
            "learning_rate: 1e-3",
            "batch_size: 1e3",
            r"batch_size: expected a whole number, got 1000",
        ),
        (
            "learning_rate: 1e-3",
            "warmup: 1.5",
            r"c.yaml:7: training: warmup is 1.5; expected a part",
        ),
        (
            "learning_rate: 1e-3",
            "patience: 0",
            r"c.yaml:8: training.patience: expected a number above 0, got 0",
        ),
        (
            "learning_rate: 1e-3",
            "pictures_every: 0",
            r"training.pictures_every: expected a number above",
        ),
        ("learning_rate: 1e-3", "csv: yes", r"training.csv: expected true or false, got 'yes'"),
        ("[16, 16]", "16", r"c.yaml:6: flow.hidden: expected a list such as \[64, 64\], got 16"),
        ("[16, 16]", "[16, a]", r"c.yaml:6: flow.hidden: expected a whole number, got 'a'"),
        ("[16, 16]", "[]", r"c.yaml:6: flow.hidden: expected widths .*got \[\]"),
        (
            "nsf_coupling",
            "nsf",
            r"c.yaml:5: flow.family: unknown family 'nsf'.* Known: nice, real",
        ),
        ("nsf_coupling", "mav", r"flow.family: unknown family 'mav'. Did you mean maf"),
        ("hidden: [16, 16]", "base: normal", r"c.yaml:6: flow.base: unknown base 'normal'"),
        (
            "hidden: [16, 16]",
            "activation: rellu",
            r"unknown activation 'rellu'. Did you mean relu",
        ),
        (
            "hidden: [16, 16]",
            "num_bins: 0",
            r"flow.num_bins: expected a number above 0 and below 1,000,001, got 0",
        ),
        ("source: moons", "source: [a]", r"c.yaml:3: data.source: expected text, got \[\'a\'\]"),
        ("\n  source: moons", " moons", r"c.yaml:2: data: expected a section of keys, got 'moons'"),
        (
            "source: moons",
            "source: a\n  test: 1.5",
            r"c.yaml:4: data.test: expected a number above 0",
        ),
        ("source: moons", "source: a\n  checks: on", r"c.yaml:4: data.checks: unknown checks 'on'"),
        ("source: moons", "source: a\n  logit: 0.5", r"c.yaml:4: data.logit: expected a number a"),
    ],
)
def test_errors_name_file_line_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Would catch a key that is silently ignored, and a bad value that fails deep inside JAX."""
    assert old in GOOD
    with pytest.raises(ValueError, match=message):
        _load(tmp_path, GOOD.replace(old, new))


def test_an_option_of_another_family(tmp_path: Path) -> None:
    """Would catch `num_bins` dropped without a word by a flow that has no splines."""
    text = GOOD.replace("nsf_coupling", "maf").replace("hidden: [16, 16]", "num_bins: 4")
    expected = r"c.yaml:6: unknown key 'flow.num_bins'. Keys of maf: family, num_layers, hidden"
    with pytest.raises(ValueError, match=expected):
        _load(tmp_path, text)


def test_nothing_is_the_default(tmp_path: Path) -> None:
    """Would catch runs of earlier versions, which wrote null for all that was left out."""
    nothing = _load(tmp_path, GOOD.replace("hidden: [16, 16]", "num_layers: null\n  rank: null"))
    assert nothing.flow == {"family": "nsf_coupling"}


def test_configs_can_say_all_that_families_take() -> None:
    """Would catch an option of a factory that no config can reach, or one without a meaning."""
    of_all = {"condition_dim", "condition_map", "rngs"}
    of_vectors, of_images = {"dim", "data_map"}, {"image_shape", "num_levels"}
    for family, factory in FLOWS.items():
        automatic = of_all | (of_vectors if family in fl.flows.NAMED else of_images)
        options = configs.flow_options(family)
        assert set(inspect.signature(factory).parameters) == set(options) | automatic
        for option in options.values():
            assert option.meaning, f"{family} does not say what {option.name} does"
            assert f"flow.{option.name}" in configs.all_options()


@pytest.mark.parametrize("family", FLOWS)
def test_defaults_of_a_family_are_values_of_their_options(tmp_path: Path, family: str) -> None:
    """Would catch an option whose type is read wrongly from the signature of a factory."""
    defaults = {
        name: option.default
        for name, option in configs.flow_options(family).items()
        if option.default is not None
    }
    given = Config("good", {"source": "moons"}, {"family": family, **defaults})
    assert _load(tmp_path, configs.dump(given)) == given


def test_overrides_replace_single_fields(tmp_path: Path) -> None:
    """Would catch an override that resets its neighbours, and lists that lose their type."""
    config = _load(tmp_path, GOOD)
    overrides = {
        "training.learning_rate": 1e-4,
        "flow.hidden": [8],
        "flow.num_layers": 3,
        "name": "12",
        "data.logit": 0.1,
        "training.csv": True,
    }
    assert _load(tmp_path, GOOD, overrides) == dataclasses.replace(
        config,
        name="12",
        data={**config.data, "logit": 0.1},
        flow={"family": "nsf_coupling", "hidden": (8,), "num_layers": 3},
        training={**config.training, "learning_rate": 1e-4, "csv": True},
    )
    without = GOOD[: GOOD.index("training:")]
    config_of_two = _load(tmp_path, without, {"training.learning_rate": 1e-4})
    assert config_of_two.training["learning_rate"] == 1e-4
    assert _load(tmp_path, GOOD, {}) == config


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.learning_rate", "fast", "training.learning_rate: expected a number, got 'fas"),
        ("training.batch_size", 1.5, "training.batch_size: expected a whole number, got 1.5"),
        (
            "training.patience",
            0,
            "command line: training.patience: expected a number above 0, got 0",
        ),
        ("training.csv", "yes", "training.csv: expected true or false, got 'yes'"),
        ("training.loss", "likelyhood", "unknown loss.*Did you mean likelihood"),
        ("flow.family", "maff", "flow.family: unknown family 'maff'. Did you mean maf"),
        ("flow.hidden", [8, "a"], "flow.hidden: expected a whole number, got 'a'"),
        ("flow.num_units", 4, "unknown key 'flow.num_units'.* Keys of nsf_coupling"),
        ("flow.activation", "rellu", "unknown activation 'rellu'. Did you mean relu"),
    ],
)
def test_wrong_overrides(tmp_path: Path, key: str, value: object, message: str) -> None:
    """Would catch an override that is ignored, and a message that blames the file."""
    with pytest.raises(ValueError, match=message) as caught:
        _load(tmp_path, GOOD, {key: value})
    assert str(caught.value).startswith("command line: ")


def test_an_override_of_the_family_keeps_the_options(tmp_path: Path) -> None:
    """Would catch options of the file that are dropped without a word for another family."""
    text = GOOD.replace("hidden: [16, 16]", "num_bins: 4")
    with pytest.raises(
        ValueError, match=r"c.yaml:6: unknown key 'flow.num_bins'. .*Keys of realnvp"
    ):
        _load(tmp_path, text, {"flow.family": "realnvp"})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_loads_and_survives_a_round_trip(tmp_path: Path, path: Path) -> None:
    """Would catch a config in the repository that went stale, and a run that cannot be read."""
    config = configs.load(path)
    assert config.name == path.stem
    assert _load(tmp_path, configs.dump(config)) == config


def test_there_are_configs() -> None:
    """Would catch the two tests of every config looking in the wrong place."""
    assert {"digits_maf", "digits_realnvp"} <= {path.stem for path in CONFIGS}


def test_examples_are_read_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch a package that brings no configs, or an example that hides a file."""
    monkeypatch.chdir(tmp_path)
    assert {path.name for path in configs.EXAMPLES.glob("*")} == {path.name for path in CONFIGS}
    assert configs.load("digits_maf") == configs.load(configs.EXAMPLES / "digits_maf.yaml")
    with pytest.raises(ValueError, match=r"digits_mof: no such file.*digits_maf"):
        configs.load("digits_mof")
    Path("digits_maf").write_text(GOOD)
    assert configs.load("digits_maf") == _load(tmp_path, GOOD)
