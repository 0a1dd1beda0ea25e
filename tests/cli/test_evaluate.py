import re
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

import flowjax_lite as fl
from flowjax_lite.cli.commands.ask import evaluate
from flowjax_lite.cli.main import main
from flowjax_lite.cli.run import directory as run


def test_the_default_is_the_test_split(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Would catch training rows among the rows that are scored."""
    log_prob = evaluate(tiny_run)
    assert log_prob.mean() == pytest.approx(run.read(tiny_run).score.test)
    printed = capsys.readouterr().out
    assert "| moons, test |   30 |" in printed
    assert f"{log_prob.mean():.2f} ± " in printed


def test_a_named_set_is_scored_whole(tiny_run: Path) -> None:
    """Would catch rows left out of a set that was given to be evaluated."""
    assert evaluate(tiny_run, data="circles").shape == (300,)


def test_rows_of_a_file_keep_their_order(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Would catch likelihoods or ranks of other rows, or columns taken by position."""
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    swapped = np.stack([x[:, 1], x[:, 0]], axis=1)
    np.savetxt(tmp_path / "x.csv", swapped, delimiter=",", header="x1,x0", comments="")
    out = tmp_path / "log_prob.csv"
    command = ["evaluate", str(tiny_run), "--data", str(tmp_path / "x.csv"), "--out", str(out)]
    assert main(command) == 0
    expected = fl.load(tiny_run / run.MODEL).log_prob(x)
    assert out.read_text().startswith('"row","log_prob","rank"\n')
    row, log_prob, rank = np.loadtxt(out, skiprows=1, delimiter=",").T
    np.testing.assert_array_equal(row, np.arange(40))
    np.testing.assert_allclose(log_prob, expected, rtol=1e-4)
    np.testing.assert_array_equal(np.argsort(log_prob), np.argsort(rank))
    assert (rank.min(), rank.max()) == (1, 40)
    lowest = int(np.argmin(log_prob))
    assert f"Least likely rows, counted from 0: {lowest} (" in capsys.readouterr().out
    assert main(command) == 2
    assert main([*command, "--overwrite"]) == 0


def test_conditions_come_from_the_file(conditional_run: Path) -> None:
    """Would catch a condition taken from another column than the one it was trained on."""
    table = conditional_run.parents[1] / "table.csv"
    rows = fl.data.read_table(table, columns=["a", "b", "c"]).values.astype(np.float32)
    expected = fl.load(conditional_run / run.MODEL).log_prob(rows[:, :2], rows[:, 2:])
    np.testing.assert_allclose(evaluate(conditional_run, data=str(table)), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("digits", "have 64 columns; the flow .* expects 2"),
        ("moon", "Did you mean moons"),
        ("none.csv", "no such file"),
    ],
)
def test_data_that_do_not_fit(
    tiny_run: Path, capsys: pytest.CaptureFixture[str], data: str, message: str
) -> None:
    """Would catch a traceback out of the flow for data of another kind."""
    assert main(["evaluate", str(tiny_run), "--data", data]) == 2
    error = capsys.readouterr().err
    assert error.startswith("flowjax-lite: error: ")
    assert re.search(message, error)


def test_a_model_cut_in_half(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Would catch a damaged model that is used, or reported with a traceback."""
    copy = copytree(tiny_run, tmp_path / "copy")
    model = copy / run.MODEL
    model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    out = tmp_path / "out.npy"
    assert main(["evaluate", str(copy), "--out", str(out)]) == 2
    assert main(["sample", str(copy), "--num", "3", "--out", str(out)]) == 2
    assert capsys.readouterr().err.count(f"flowjax-lite: error: {model}") == 2
    assert not out.exists()


def test_a_run_is_diagnosed(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Would catch a report on other rows than those asked for, or on none."""
    assert main(["diagnose", str(tiny_run), "--num", "20"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"moons, test\nrows +20\nlog-densities not finite +none\n", printed)
    assert "condition number" in printed
    assert main(["diagnose", str(tiny_run), "--num", "0"]) == 2
