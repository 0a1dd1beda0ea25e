import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flowjax_lite.cli import config as configs
from flowjax_lite.cli.commands.compare import PICTURE, ROWS, TABLE, compare
from flowjax_lite.cli.main import main
from flowjax_lite.cli.run import directory as run


def test_comparison_end_to_end(
    tiny_config: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Would catch a row that is lost, a rate that was never measured, and a run not kept."""
    monkeypatch.chdir(tmp_path)
    paths = [str(tiny_config(name=name)) for name in ("one", "two")]
    out = Path("runs/compare")
    assert main(["compare", *paths]) == 0
    text = (out / TABLE).read_text()
    assert text in capsys.readouterr().out
    for word in ("| one ", "| two ", "| Gaussian ", "| KDE ", "samples/s", " cores, ", "jax "):
        assert word in text
    assert str(tmp_path) not in text
    assert (out / PICTURE).read_bytes().startswith(b"\x89PNG")
    rows = [json.loads(line) for line in (out / ROWS).read_text().splitlines()]
    assert [row["score"]["name"] for row in rows] == [
        "one",
        "two",
        "Gaussian",
        "KDE",
        "Gaussian mixture",
    ]
    for row in rows[:2]:
        rates = ("seconds_per_epoch", "log_prob_per_second", "samples_per_second")
        assert all(row[rate] > 0 for rate in (*rates, "total_seconds"))
        assert row["compile_seconds"] >= 0
        assert len(row["curve"]) == row["epochs"] == 3
        assert run.read(out / row["score"]["name"]).config.output == str(out)
    # Equal settings give equal flows: the comparison itself adds nothing.
    assert rows[0]["score"]["test"] == pytest.approx(rows[1]["score"]["test"], rel=1e-4)
    assert main(["compare", *paths]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_runs_are_not_trained_again(
    tiny_config: Callable[..., Path], tiny_run: Path, tmp_path: Path
) -> None:
    """Would catch a run that is trained or written again, and scores or times of other ones."""
    before = {path: path.stat().st_mtime_ns for path in tiny_run.iterdir()}
    out = tmp_path / "out"
    assert main(["compare", str(tiny_run), str(tiny_config(name="new")), "--out", str(out)]) == 0
    assert {path: path.stat().st_mtime_ns for path in tiny_run.iterdir()} == before
    assert sorted(path.name for path in out.iterdir()) == sorted([TABLE, ROWS, PICTURE, "new"])
    read, trained = [json.loads(line) for line in (out / ROWS).read_text().splitlines()[:2]]
    before_run, new = run.read(tiny_run), run.read(out / "new")
    note = f"{before_run.score.note}, trained before, with the seconds of then"
    assert read["score"] == dataclasses.asdict(before_run.score) | {"note": note}
    assert trained["score"] == dataclasses.asdict(new.score)
    assert read["total_seconds"] == before_run.summary.seconds
    assert read["log_prob_per_second"] > 0
    assert read["samples_per_second"] > 0
    lines = (tiny_run / run.METRICS).read_text().splitlines()
    epochs = [json.loads(line) for line in lines][:-1]
    assert read["curve"] == [[line["seconds"], line["validation"]] for line in epochs]
    assert [values[1] for values in trained["curve"]] == pytest.approx(
        [values[1] for values in read["curve"]], rel=1e-4
    )


def test_runs_on_other_data_are_refused(
    tiny_config: Callable[..., Path],
    tiny_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Would catch likelihoods of different data in one table, also where a file has changed."""
    other = tiny_config(name="other", data=", seed: 1")
    out = ["--out", str(tmp_path / "out")]
    assert main(["compare", str(tiny_run), str(other), *out]) == 2
    assert "data.seed is 0 in tiny and 1 in other" in capsys.readouterr().err
    assert main(["compare", str(tiny_run), str(tiny_run), *out]) == 2
    assert "are called 'tiny'" in capsys.readouterr().err
    changed = tmp_path / "changed"
    shutil.copytree(tiny_run, changed)
    text = (changed / run.METRICS).read_text()
    test = run.read(changed).score.test
    (changed / run.METRICS).write_text(text.replace(str(test), str(test + 0.02)))
    assert main(["compare", str(changed), *out]) == 2
    assert "moons is not what tiny was trained on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"name": "two", "source": "circles"},
            "data.source is 'moons' in one and 'circles' in two",
        ),
        ({"name": "two", "data": ", seed: 1"}, "data.seed is 0 in one and 1 in two"),
        ({"name": "one"}, "two of them are called 'one'"),
    ],
)
def test_only_flows_on_the_same_data_are_compared(
    tiny_config: Callable[..., Path], tmp_path: Path, options: dict[str, str], message: str
) -> None:
    """Would catch likelihoods of different data, splits or seeds in one table."""
    first = configs.load(tiny_config(name="one"))
    second = configs.load(tiny_config(**options))
    with pytest.raises(ValueError, match=message):
        compare((first, second), out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
