"""Flows of images on the command line: whole levels in training, one scale for all tables."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import flowjax_lite as fl
from flowjax_lite.cli import config as configs
from flowjax_lite.cli.commands.ask import evaluate, sample
from flowjax_lite.cli.commands.compare import ROWS, compare
from flowjax_lite.cli.main import main
from flowjax_lite.cli.run import directory as run
from flowjax_lite.cli.run import experiment

GLOW = "family: glow, num_scales: 1, num_layers: 1, channels: 4"
REALNVP = "family: realnvp, num_layers: 1, hidden: [4]"
DIM = 16


def images(*shape: int) -> np.ndarray:
    """Bytes that are brighter to the right, 240 of a shape."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(40, 200, shape[1])[:, None]
    noisy = ramp + rng.normal(0, 10, (240, *shape, *[1] * (3 - len(shape))))
    return noisy.reshape(240, *shape).astype(np.uint8)


def write_config(directory: Path, source: str, *, name: str = "a", **sections: str) -> Path:
    """Write a config that trains for two epochs."""
    sections = {"flow": GLOW, "data": "", "training": ""} | sections
    path = directory / f"{name}.yaml"
    path.write_text(
        f"name: {name}\noutput: {directory / 'runs'}\n"
        f"data: {{source: {source}{sections['data']}}}\nflow: {{{sections['flow']}}}\n"
        f"training: {{batch_size: 64, max_epochs: 2{sections['training']}}}\n"
    )
    return path


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An idx file of grey images of 4 × 4 pixels."""
    path = tmp_path_factory.mktemp("images") / "grey.idx"
    x = images(4, 4)
    header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in x.shape)
    path.write_bytes(header + x.tobytes())
    return path


@pytest.fixture(scope="module")
def glow_run(grey: Path) -> Path:
    """The directory of a run of an image flow; leave it as it is."""
    config = write_config(grey.parent, str(grey), name="glow")
    assert main(["fit", str(config), "--training.pictures-every", "2"]) == 0
    return grey.parent / "runs" / "glow"


def test_a_run_is_scored_at_the_noise_of_its_rows(glow_run: Path, grey: Path) -> None:
    """Would catch scores in other units than those of vectors, and rows in another order."""
    model = fl.load(glow_run / run.MODEL)
    assert isinstance(model, fl.distributions.Dequantized)
    x = fl.data.load(grey, seed=0).test.x
    levels = model.flow.log_prob(256 * x.reshape(-1, 4, 4, 1)) + DIM * math.log(256)
    *epochs, last = [json.loads(line) for line in (glow_run / run.METRICS).read_text().splitlines()]
    score = last["scores"][0]
    assert score["test"] == pytest.approx(float(levels.mean()), rel=1e-5)
    bits = (math.log(256) - score["test"] / DIM) / math.log(2)
    assert score["bits_per_dim"] == pytest.approx(bits, rel=1e-5)
    # After two epochs the average over the noise is near that of one draw of it.
    assert epochs[-1]["validation"] == pytest.approx(score["validation"], abs=2.0)
    assert {path.name for path in glow_run.iterdir()} >= {run.SAMPLES, run.TRAINING, run.PICTURES}


def test_samples_are_images(glow_run: Path, tmp_path: Path) -> None:
    """Would catch samples between the levels, a picture that is none, and a lost axis."""
    drawn = sample(glow_run, num=5, out=tmp_path / "s.npy")
    saved = np.load(tmp_path / "s.npy")
    assert (saved.shape, saved.dtype) == ((5, 4, 4, 1), np.uint8)
    np.testing.assert_array_equal(saved, drawn)
    sample(glow_run, num=5, out=tmp_path / "s.csv")
    rows = np.loadtxt(tmp_path / "s.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(rows, drawn.reshape(5, -1))
    sample(glow_run, num=5, out=tmp_path / "s.png")
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_are_of_images_alone(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Would catch points of the plane that are drawn as images."""
    command = ["sample", str(tiny_run), "--num", "3", "--out", str(tmp_path / "s.png")]
    assert main(command) == 2
    assert "are no images" in capsys.readouterr().err


def test_a_file_is_evaluated_like_the_rows_of_the_run(glow_run: Path, grey: Path) -> None:
    """Would catch bytes that are taken as they are, and another seed of the noise."""
    rows = evaluate(glow_run, data=str(grey))
    assert rows.shape == (240,)
    assert rows.mean() == pytest.approx(evaluate(glow_run).mean(), abs=2.0)
    assert main(["diagnose", str(glow_run), "--num", "3"]) == 0


def test_flows_of_images_and_of_vectors_stand_in_one_table(
    glow_run: Path, grey: Path, tmp_path: Path
) -> None:
    """Would catch a comparison of bits of levels with those of a density of another scale."""
    vector = write_config(tmp_path, str(grey), name="vector", flow=REALNVP)
    rows = compare((glow_run, vector), out=str(tmp_path / "out"))
    assert [row.score.name for row in rows[:2]] == ["glow", "vector"]
    for row in rows[:2]:
        assert row.score.bits_per_dim is not None and 5 < row.score.bits_per_dim < 9
        assert len(row.curve) == 2 and row.samples_per_second
        # The curve ends where the score is.
        assert row.curve[-1][1] == pytest.approx(row.score.validation, abs=2.0)
    assert (tmp_path / "out" / ROWS).exists()


def test_classes_are_conditions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Would catch classes of other images, in training, in a file or in samples."""
    rng = np.random.default_rng(0)
    classes = np.arange(400) % 2  # dark and bright
    x = (60 + 120 * classes[:, None, None] + rng.normal(0, 10, (400, 4, 4))).astype(np.uint8)
    np.savez(tmp_path / "train.npz", x=x, label=classes)
    np.savez(tmp_path / "test.npz", x=x[::2], label=classes[::2])
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "wrong.npy", 1 - classes)
    config = write_config(
        tmp_path,
        str(tmp_path / "train.npz"),
        data=", array: x, labels: label",
        training=", learning_rate: 1e-2",
    )
    assert main(["fit", str(config), "--training.max-epochs", "20"]) == 0
    directory = tmp_path / "runs" / "a"
    right = evaluate(directory, data=str(tmp_path / "test.npz"))
    swapped = {"data": str(tmp_path / "x.npy"), "labels": str(tmp_path / "wrong.npy")}
    wrong = evaluate(directory, **swapped)
    assert len(right) == 200 and right.mean() > wrong.mean() + 5
    assert main(["evaluate", str(directory), "--data", str(tmp_path / "x.npy")]) == 2
    assert "name those of" in capsys.readouterr().err
    assert main(["evaluate", str(directory), "--labels", str(tmp_path / "wrong.npy")]) == 2
    (tmp_path / "classes.csv").write_text("label\n1\n0\n")
    given = {"condition": tmp_path / "classes.csv", "out": tmp_path / "s.npy"}
    bright, dark = sample(directory, num=20, **given).reshape(2, 20, -1).mean((1, 2))
    assert bright > dark + 30


def test_images_of_several_channels(tmp_path: Path) -> None:
    """Would catch channels that are lost, or levels that are not those of the file."""
    x = images(4, 4, 3)
    np.savez(tmp_path / "colour.npz", x=x, label=np.zeros(240))
    path = write_config(tmp_path, str(tmp_path / "colour.npz"), data=", array: x")
    config = configs.load(path)
    prepared = experiment.prepare(config, experiment.load_data(config.data))
    assert prepared.flow.event_shape == (4, 4, 3)
    rows = np.concatenate(
        [experiment.events(prepared.flow, part).x for part in experiment.splits(prepared.data)]
    )
    np.testing.assert_array_equal(np.sort(rows.reshape(240, -1), 0), np.sort(x.reshape(240, -1), 0))
    assert len(experiment.baseline_scores(prepared.data, None)) == 3


@pytest.mark.parametrize(
    ("source", "sections", "message"),
    [
        ("moons", {}, "glow takes images of whole levels, which moons is not"),
        ("digits", {"data": ", logit: 0.05"}, "give flow.logit instead"),
        ("digits", {"training": ", loss: flow_matching"}, "glow takes likelihood"),
        ("digits", {"flow": "family: glow, hidden: [4]"}, "unknown key 'flow.hidden'"),
        ("digits", {"flow": "family: glow, logit: 0.5"}, "a number above 0 and below 0.5"),
        ("digits", {"flow": "family: glow, num_scales: 4"}, "multiples of 16"),
        ("colour.npy", {"flow": REALNVP}, "realnvp takes rows of columns.*expected one of.*glow"),
    ],
)
def test_what_does_not_fit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: str,
    sections: dict[str, str],
    message: str,
) -> None:
    """Would catch a traceback, a setting without effect, and a run that ends after its training."""
    monkeypatch.chdir(tmp_path)
    np.save("colour.npy", images(4, 4, 3))
    assert main(["fit", str(write_config(tmp_path, source, **sections))]) == 2
    error = capsys.readouterr().err
    assert error.startswith("flowjax-lite: error: ")
    assert re.search(message, error), error
    assert not (tmp_path / "runs").exists()
