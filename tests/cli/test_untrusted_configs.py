"""Configs and runs from strangers: each is read, or refused in words, and none leads astray."""

import dataclasses
import json
from pathlib import Path

import pytest
from helpers.mutations import mutations, peak_bytes

from flowjax_lite.cli import config as configs
from flowjax_lite.cli.config import Config
from flowjax_lite.cli.run import directory as run

MIB = 2**20
CONFIG = b"""\
# A run.
name: "a run"
data:
  source: moons
  columns: [x0, 'x1']
  validation: 0.2
flow:
  family: nsf_coupling
  hidden: [16, 16]
  bound: 5
training:
  learning_rate: 1e-3
  seed: -3
output: runs
"""
SCORE = {"name": "a", "note": "", "parameters": 3, "train": 1.0, "validation": 2, "test": 1.5}
SUMMARY = {
    "best_epoch": 1,
    "parameters": 3,
    "seconds": 1.5,
    "scores": [SCORE | {"test_error": 0.1}],
    "columns": ["a", "b"],
    "condition_columns": ["c"],
    "num_levels": None,
}
EPOCH = '{"epoch": 1, "validation": -1.5, "seconds": 1}\n'


def test_damaged_configs_are_read_or_refused(tmp_path: Path) -> None:
    """Catches a traceback for a typing error, and a run that leaves its directory."""
    path = tmp_path / "c.yaml"
    num_read = 0
    for content in mutations(CONFIG, num=300, seed=0):
        path.write_bytes(content)
        try:
            config = configs.load(path)
        except ValueError as error:
            assert str(path) in str(error)
        else:
            assert config.run_dir.parent == Path(config.output)
            assert configs.load(_written(config, tmp_path)) == config
            num_read += 1
    assert 20 < num_read < 200


def _written(config: Config, folder: Path) -> Path:
    path = folder / "again.yaml"
    path.write_text(configs.dump(config), encoding="utf-8")
    return path


LAUGHS = "".join(f"a{i}: &a{i} [{', '.join(9 * [f'*a{i - 1}'])}]\n" for i in range(1, 20))


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [ha]\n" + LAUGHS,
        "flow: &x {family: maf}\ndata:\n  <<: *x\n",
        "a: " + 500_000 * "[" + "\n",
        "".join(f"{depth * ' '}a:\n" for depth in range(1000)),
        "a: " + 500_000 * "- " + "\n",
        "? " * 300_000 + "\n",
        "a: {" + 200_000 * "{" + "\n",
        "a: !!python/object/apply:os.system [true]\n",
        "a: !!binary aGk=\n",
        "%TAG ! tag:yaml.org,2002:python/\n---\na: !name:os.system x\n",
        "name: " + 100_000 * "9" + "\n",
        "name: 0" + 100_000 * "9" + "\n",
        "name: a\nflow: {family: maf, bound: " + 400 * "9" + "}\ndata: {source: moons}\n",
        "name: a\nflow: {family: maf, hidden: {a: 1}}\ndata: {source: moons}\n",
        "<<: {name: a}\ndata: {source: moons}\nflow: {family: maf}\n",
        "name: a\nflow: {family: maf, num_layers: 4000000000000}\ndata: {source: moons}\n",
        "name: a\nflow: {family: maf, hidden: [4000000000000]}\ndata: {source: moons}\n",
        "name: [a]\n",
        "name:\n",
        "\x00",
        "a: \x1b[2J\n",
        "a: \u2028\x85\n",
        '"\\U0011FFFF": 1\n',
        2 * MIB * "a",
        "\ufeff\ufeff: 1",
    ],
)
def test_a_hostile_config_is_refused(tmp_path: Path, text: str) -> None:
    """Catches aliases that fill the memory, recursion, tags, numbers that overflow."""
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")

    def refused() -> None:
        with pytest.raises(ValueError, match=r"c\.yaml"):
            configs.load(path)

    assert peak_bytes(refused) < 12 * MIB


@pytest.mark.parametrize(
    "name",
    ["..", ".", "", "../up", "/etc/up", "a/b", "a\\b", "..\\up", "a\0", "a\n", "\x1b[2J", "\ud800"],
)
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    """Catches a config that writes beside the directory it names, or upsets the terminal."""
    path = tmp_path / "c.yaml"
    text = f"name: {json.dumps(name)}\ndata: {{source: moons}}\nflow: {{family: maf}}\n"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"c\.yaml:1: .*(plain file name|control character)"):
        configs.load(path)
    good = configs.load(_changed(path, "a b.1"))
    with pytest.raises(ValueError, match="plain file name"):
        dataclasses.replace(good, name=name)
    with pytest.raises(ValueError, match="plain file name"):
        configs.load(path, {"name": name})


def _changed(path: Path, name: str) -> Path:
    path.write_text(f"name: {name}\ndata: {{source: moons}}\nflow: {{family: maf}}\n")
    return path


def test_damaged_metrics_are_read_or_refused(tmp_path: Path) -> None:
    """Catches a traceback of `evaluate` or `sample` on a run that was copied in part."""
    path = _run_with(tmp_path, b"")
    num_read = 0
    for content in mutations(f"{EPOCH}{json.dumps(SUMMARY)}\n".encode(), num=300, seed=0):
        path.write_bytes(content)
        try:
            summary = run.read(tmp_path).summary
        except ValueError as error:
            assert str(path) in str(error)
        else:
            assert all(isinstance(name, str) for name in summary.columns)
            num_read += 1
    assert 5 < num_read < 200


def _run_with(directory: Path, metrics: bytes) -> Path:
    """Write a run whose metrics are these, and whose model nobody reads; return their path."""
    _changed(directory / run.CONFIG, "a")
    (directory / run.MODEL).touch()
    (directory / run.METRICS).write_bytes(metrics)
    return directory / run.METRICS


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n\n",
        b"3",
        b"[]",
        b"null",
        b'{"epoch": 1}',
        100_000 * b"[",
        b"\xff\xfe",
        5000 * b"9",
        json.dumps(SUMMARY | {"columns": "ab"}).encode(),
        json.dumps(SUMMARY | {"columns": [1, 2]}).encode(),
        json.dumps(SUMMARY | {"condition_columns": None}).encode(),
        json.dumps(SUMMARY | {"num_levels": "256"}).encode(),
        json.dumps(SUMMARY | {"num_levels": 0}).encode(),
        json.dumps(SUMMARY | {"num_levels": -2}).encode(),
        json.dumps(SUMMARY | {"seconds": "1.5"}).encode(),
        json.dumps(SUMMARY | {"schema": {"a": "real"}}).encode(),
        json.dumps(SUMMARY | {"schema": [1]}).encode(),
        json.dumps(SUMMARY | {"scores": []}).encode(),
        json.dumps(SUMMARY | {"scores": [SCORE | {"test_error": True}]}).encode(),
    ],
)
def test_hostile_metrics_are_refused(tmp_path: Path, line: bytes) -> None:
    """Catches a KeyError far from the file that caused it, and recursion."""
    _run_with(tmp_path, EPOCH.encode() * bool(line) + line)
    with pytest.raises(ValueError, match=r"metrics\.jsonl: "):
        run.read(tmp_path)


def test_metrics_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a file that fills the memory."""
    monkeypatch.setattr(run, "_MAX_METRICS", 100)
    _run_with(tmp_path, 101 * b" ")
    with pytest.raises(ValueError, match="larger than 100 bytes"):
        run.read(tmp_path)
