"""What a run writes down."""

import csv
import json
from pathlib import Path

import pytest
from helpers.interrupted import settings, tiny

import flowjax_lite as fl
from flowjax_lite.training import LogFile


def test_a_line_for_each_epoch(tmp_path: Path):
    """Catches an epoch that is missing, or there twice after a run went on."""
    logs = [LogFile(tmp_path / "log.jsonl"), LogFile(tmp_path / "log.csv")]
    options = settings(tmp_path / "run", callbacks=logs)
    stop = [*logs, lambda progress: progress.epoch == 1]
    fl.fit(tiny(), **options | {"callbacks": stop, "checkpoint": None})
    result = fl.fit(tiny(), **options)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    for name, values in result.history.items():
        assert [line[name] for line in lines] == list(values)
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows == lines
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "log.jsonl", "run"]


def test_another_ending_is_refused():
    """Catches a file of a form that nobody asked for."""
    with pytest.raises(ValueError, match=r"log.txt ends on neither of .jsonl, .csv"):
        LogFile("log.txt")
