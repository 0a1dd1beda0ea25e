import csv
import resource
from pathlib import Path

import numpy as np
import pytest

from flowjax_lite.cli.commands.ask import sample
from flowjax_lite.cli.main import main


def test_samples_to_both_kinds_of_file(tiny_run: Path, tmp_path: Path) -> None:
    """Would catch another number of samples than asked for, and a csv without names."""
    for name in ("s.npy", "s.csv"):
        assert main(["sample", str(tiny_run), "--num", "7", "--out", str(tmp_path / name)]) == 0
    binary = np.load(tmp_path / "s.npy")
    assert binary.shape == (7, 2)
    with (tmp_path / "s.csv").open() as file:
        header, *lines = csv.reader(file)
    assert header == ["x0", "x1"]
    np.testing.assert_allclose(np.array(lines, float), binary, rtol=1e-6)


def test_the_seed_sets_the_samples(tiny_run: Path, tmp_path: Path) -> None:
    """Would catch samples that cannot be repeated, or that never change."""
    first, again, other = (
        sample(tiny_run, num=3, out=tmp_path / f"{i}.npy", seed=seed)
        for i, seed in enumerate((0, 0, 1))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_samples_follow_their_conditions(conditional_run: Path, tmp_path: Path) -> None:
    """Would catch conditions ignored, or in another order than the samples: a is about 10 c."""
    (tmp_path / "c.csv").write_text("other,c\n5.0,-0.8\n5.0,0.8\n")
    out, condition = tmp_path / "s.npy", tmp_path / "c.csv"
    samples = sample(conditional_run, num=200, out=out, condition=condition)
    assert samples.shape == (400, 2)
    assert samples[:200, 0].mean() == pytest.approx(-8, abs=2)
    assert samples[200:, 0].mean() == pytest.approx(8, abs=2)


def test_a_missing_or_needless_condition(
    tiny_run: Path,
    conditional_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Would catch a condition that is guessed, or one that is silently dropped."""
    out = tmp_path / "s.npy"
    assert main(["sample", str(conditional_run), "--num", "3", "--out", str(out)]) == 2
    assert "give --condition FILE with the column c" in capsys.readouterr().err
    (tmp_path / "c.csv").write_text("c\n0.5\n")
    command = ["sample", str(tiny_run), "--num", "3", "--out", str(out)]
    assert main([*command, "--condition", str(tmp_path / "c.csv")]) == 2
    assert "takes no condition" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("num", "name", "message"),
    [
        ("0", "s.npy", "--num is 0"),
        ("99999999999", "s.npy", "99,999,999,999 samples would be an array of 745 GiB"),
        ("3", "s.txt", "give a name in .npy or .csv"),
        ("3", "kept.npy", "--overwrite"),
    ],
)
def test_bad_arguments_write_nothing(
    tiny_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    num: str,
    name: str,
    message: str,
) -> None:
    """Would catch a file that is overwritten, or one of a kind that nothing reads."""
    (tmp_path / "kept.npy").write_text("kept")
    assert main(["sample", str(tiny_run), "--num", num, "--out", str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["kept.npy"]
    assert (tmp_path / "kept.npy").read_text() == "kept"


@pytest.mark.parametrize("name", ["kept.npy", "kept.csv"])
def test_a_full_disk_leaves_the_old_file(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Would catch a file that is emptied before its replacement is whole."""
    out = tmp_path / name
    out.write_text("kept")
    command = ["sample", str(tiny_run), "--num", "1000", "--out", str(out), "--overwrite"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        assert main(command) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert capsys.readouterr().err.startswith("flowjax-lite: error: ")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert out.read_text() == "kept"
    assert main(command) == 0
    assert out.stat().st_size > 2000
