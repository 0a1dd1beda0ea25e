"""Tables with words, blanks and whole numbers, from `fit` to `sample`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flowjax_lite.cli.main import main
from flowjax_lite.cli.run import directory as run

CITIES = ("Oslo", "Rome")


def _table(path: Path, *, blank: bool = False) -> Path:
    rng = np.random.default_rng(0)
    lines = ["city,rooms,price"]
    for _ in range(300):
        city = rng.integers(2)
        lines.append(f"{CITIES[city]},{rng.integers(1, 6)},{10 * city + rng.normal():.4f}")
    path.write_text("\n".join(lines) + ("\n,3,1.5\n" if blank else "\n"))
    return path


def test_words_and_whole_numbers(
    tiny_config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Would catch words that stop a run, are dropped silently, or that samples do not follow.

    Also catches samples of whole numbers that are not whole, and a run whose table is read in
    another way when it is evaluated.
    """
    table = _table(tmp_path / "flats.csv")
    config = tiny_config(name="flats", source=str(table), data=", schema: auto")
    assert main(["fit", str(config), "--training.max-epochs", "40"]) == 0
    told = capsys.readouterr().err
    assert "flowjax-lite: warning: " in told and "words become the condition: 'city'" in told
    directory = tmp_path / "runs" / "flats"
    assert run.read(directory).summary.columns == ("rooms", "price")
    assert main(["evaluate", str(directory), "--data", str(table)]) == 0
    assert "| flats.csv |  300 |" in capsys.readouterr().out
    (tmp_path / "cities.csv").write_text("city\nRome\nOslo\n")
    out = tmp_path / "samples.csv"
    command = ["sample", str(directory), "--num", "200", "--out", str(out)]
    assert main(command) == 2
    assert "with the column city" in capsys.readouterr().err
    assert main([*command, "--condition", str(tmp_path / "cities.csv")]) == 0
    rooms, price = np.loadtxt(out, delimiter=",", skiprows=1).T
    np.testing.assert_array_equal(rooms, np.floor(rooms))
    assert price[:200].mean() - price[200:].mean() == pytest.approx(10, abs=2)
    (tmp_path / "cities.csv").write_text("city\nParis\n")
    assert main([*command, "--condition", str(tmp_path / "cities.csv"), "--overwrite"]) == 2
    assert "Paris" in capsys.readouterr().err


def test_blanks_are_named_with_the_ways_out(
    tiny_config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Would catch a row without a value that becomes a NaN, or is left out without a word."""
    table = _table(tmp_path / "flats.csv", blank=True)
    config = tiny_config(name="flats", source=str(table), data=", schema: auto")
    assert main(["fit", str(config)]) == 2
    error = capsys.readouterr().err
    assert "1 of 301 rows without a value ('city': 1)" in error and "missing" in error
