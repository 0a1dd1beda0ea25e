"""`flowjax-lite list` and `flowjax-lite init`."""

from pathlib import Path

import numpy as np
import pytest

import flowjax_lite as fl
from flowjax_lite.cli import config as configs
from flowjax_lite.cli.commands.init import init
from flowjax_lite.cli.main import main
from flowjax_lite.cli.run.experiment import load_data


def test_flows_and_data_sets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Would catch a family or a set that nobody can learn the name of, or one without a paper."""
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in (*fl.flows.NAMED, *fl.data.TOYS, "digits", "bsds300", "uci/NAME"):
        assert f"\n  {name} " in printed
    assert printed.count("arXiv:") >= len(fl.flows.NAMED)
    assert "IAF: Kingma et al., 2016, arXiv:1606.04934." in " ".join(printed.split())


def test_options_of_a_family_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Would catch an option without its default or its choices."""
    assert main(["list", "nsf_coupling"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "num_bins" in printed and "Default: 8." in printed
    assert "One of standard_normal" in printed


@pytest.mark.parametrize("source", ["digits", "table.csv"])
def test_a_starter_config_can_be_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Would catch a starter config that `fit` refuses, or one that hides the columns of a file."""
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).normal(size=(50, 2))
    np.savetxt("table.csv", values, delimiter=",", header="length (cm),b", comments="")
    path = init(source)
    assert path == Path(f"{Path(source).stem}.yaml")
    config = configs.load(path)
    assert len(load_data(config.data).train) > 0
    assert config.data["logit"] == (0.05 if source == "digits" else None)
    if source == "table.csv":
        assert config.data["columns"] == ("length (cm)", "b")
    with pytest.raises(ValueError, match="exists"):
        init(source)
    init(source, overwrite=True)


def test_a_starter_config_for_words_and_blanks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Would catch a table with words for which nobody can begin, or a row dropped unasked."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = [f"{'ab'[i % 2]},{rng.integers(1, 6)},{rng.normal():.4f}" for i in range(60)]
    Path("flats.csv").write_text("\n".join(["city,rooms,price", *lines, "a,,1.5"]) + "\n")
    command = ["init", "flats.csv", "--schema", "auto"]
    assert main(command) == 2
    assert "'rooms': 1" in capsys.readouterr().err
    assert main([*command, "--missing", "drop"]) == 0
    data = load_data(configs.load("flats.yaml").data)
    assert data.columns == ("rooms", "price")
    assert data.condition_columns == ("city=a", "city=b")
    assert sum(map(len, (data.train, data.validation, data.test))) == 60
