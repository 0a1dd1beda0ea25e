import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import flowjax_lite as fl
from flowjax_lite.cli import config as configs
from flowjax_lite.cli.commands.fit import fit
from flowjax_lite.cli.main import main
from flowjax_lite.cli.run import directory as run
from flowjax_lite.cli.run import experiment, output
from flowjax_lite.cli.run.experiment import load_data

DEFAULT = set(run.FILES) - {run.TABLE, run.BOARD, run.PICTURES}


def _lines(directory: Path) -> list[dict]:
    text = (directory / run.METRICS).read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.smoke
def test_run_directory_is_complete(tiny_run: Path) -> None:
    """Would catch a result that is forgotten, empty, or left in a temporary place."""
    assert sorted(path.name for path in tiny_run.iterdir()) == sorted(DEFAULT)
    assert all(path.stat().st_size > 0 for path in tiny_run.iterdir())
    for name in (run.SAMPLES, run.TRAINING, run.DENSITY):
        assert (tiny_run / name).read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tiny_run.parent.iterdir()] == ["tiny"]


def test_config_of_a_run_is_the_config_it_was_given(tiny_run: Path) -> None:
    """Would catch a run that cannot be repeated from its own directory."""
    given = configs.load(tiny_run.parents[1] / "tiny.yaml")
    assert configs.load(tiny_run / run.CONFIG) == given


def test_metrics_have_a_line_for_each_epoch_and_one_for_the_result(tiny_run: Path) -> None:
    """Would catch losses in place of log-likelihoods, and seconds that do not add up."""
    *epochs, last = _lines(tiny_run)
    assert [line["epoch"] for line in epochs] == [1, 2, 3]
    seconds = [line["seconds"] for line in epochs]
    assert seconds == sorted(seconds)
    assert all(line["train"] < 0 for line in epochs)  # nats; moons are several units wide
    assert last["columns"] == ["x0", "x1"]
    assert [score["name"] for score in last["scores"]] == [
        "tiny",
        "Gaussian",
        "KDE",
        "Gaussian mixture",
    ]
    best = epochs[last["best_epoch"] - 1]
    assert best["validation"] == max(line["validation"] for line in epochs)
    flow_score = last["scores"][0]
    assert flow_score["validation"] == pytest.approx(best["validation"], abs=1e-3)


def test_model_of_a_run_has_the_likelihood_that_was_printed(tiny_run: Path) -> None:
    """Would catch a model saved before training, or a score of other rows."""
    data = load_data(configs.load(tiny_run / run.CONFIG).data)
    log_prob = experiment.log_prob(fl.load(tiny_run / run.MODEL), data.test)
    score = _lines(tiny_run)[-1]["scores"][0]
    assert log_prob.mean() == pytest.approx(score["test"], abs=1e-4)
    assert log_prob.std(ddof=1) / np.sqrt(len(log_prob)) == pytest.approx(score["test_error"])


def test_table_is_printed(
    tiny_config: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Would catch a run that does not say how good it is, and overrides that are not used."""
    assert main(["fit", str(tiny_config()), "--name", "other"]) == 0
    printed = capsys.readouterr().out
    assert "moons: 240/30/30 training/validation/test rows of 2 columns" in printed
    for name in ("| other ", "| Gaussian ", "| KDE ", "train", "validation", "test", "Wrote"):
        assert name in printed


def test_a_run_that_still_improves_says_so(
    tiny_config: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Would catch a user who compares a flow that was stopped half-way."""
    options = ["--training.max-epochs", "2", "--training.learning-rate", "1e-3"]
    assert main(["fit", str(tiny_config(name="short")), *options]) == 0
    best = _lines(tiny_config().parent / "runs" / "short")[-1]["best_epoch"]
    hint = "still improving. Raise training.max_epochs from 2"
    assert (hint in capsys.readouterr().out) is (best == 2)
    assert best == 2


def test_conditional_runs_beat_what_ignores_the_condition(conditional_run: Path) -> None:
    """Would catch a condition that is loaded but not used: it explains all but 1 of 6 units."""
    *_, last = _lines(conditional_run)
    assert (last["columns"], last["condition_columns"]) == (["a", "b"], ["c"])
    noise = -np.log(2 * np.pi * np.e)  # two standard normals
    for score in last["scores"]:
        assert noise - 1.2 < score["test"] < noise + 0.5
    assert not (conditional_run / run.DENSITY).exists()


def test_images_are_reported_in_bits(tiny_config: Callable[..., Path], tmp_path: Path) -> None:
    """Would catch digits without logits, without bits per dimension, or drawn as a pair plot."""
    config = configs.load(tiny_config(source="digits", data=", logit: 0.05"))
    scores = fit(dataclasses.replace(config, training={**config.training, "max_epochs": 1}))
    for score in scores:
        assert score.bits_per_dim is not None
        nats = -score.test / 64 + np.log(17)
        assert score.bits_per_dim == pytest.approx(nats / np.log(2), rel=1e-5)
    gaussian, kernels, mixture = scores[1:]
    assert gaussian.bits_per_dim == pytest.approx(2.45, abs=0.02)
    assert kernels.bits_per_dim is not None
    assert kernels.bits_per_dim < 2.5
    assert mixture.bits_per_dim is not None
    assert mixture.bits_per_dim < 2.35


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1.0,2.0\n3.0,nan\n", r"row 1 .*column 'b'"),
        ("a,b\n" + "1.0,2.0\n3.0,2.0\n" * 200, "column.*'b'"),
        ("a,b\n" + "1.0,1.0\n3.0,3.0\n" * 200, "duplicated"),
        ("", "empty"),
        ("a,b\nx,y\n", "data.csv"),
    ],
)
def test_bad_data_is_refused_before_anything_is_written(
    tiny_config: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    message: str,
) -> None:
    """Would catch training on bad rows, a traceback, and an empty run left behind."""
    (tmp_path / "data.csv").write_text(content)
    config = tiny_config(source=str(tmp_path / "data.csv"))
    assert main(["fit", str(config)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("flowjax-lite: error: ")
    assert error.count("\n") == 1
    assert re.search(message, error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "tiny.yaml"]


def test_an_earlier_run_is_kept_unless_asked(
    tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Would catch an old model that is replaced by running the same command twice."""
    before = {path.name: path.stat().st_mtime_ns for path in tiny_run.iterdir()}
    assert main(["fit", str(tiny_run.parents[1] / "tiny.yaml")]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in tiny_run.iterdir()} == before


def test_overwrite_replaces_a_run(tiny_config: Callable[..., Path]) -> None:
    """Would catch --overwrite without effect."""
    command = ["fit", str(tiny_config())]
    assert main(command) == 0
    assert main([*command, "--training.seed", "5"]) == 2
    assert main([*command, "--training.seed", "5", "--overwrite"]) == 0


def test_flow_matching_from_a_config(tiny_config: Callable[..., Path]) -> None:
    """Would catch a loss that is not used, or written down as if it were a likelihood."""
    path = tiny_config(name="matched")
    options = ["--flow.family", "cnf", "--flow.num-layers", "1", "--flow.rtol", "1e-3"]
    options += ["--flow.atol", "1e-3", "--training.loss"]
    assert main(["fit", str(path), *options, "flow_matching"]) == 0
    *epochs, last = _lines(path.parent / "runs" / "matched")
    assert all(0 < line["validation_loss"] < 3 for line in epochs)
    assert not any("validation" in line for line in epochs)
    assert last["scores"][0]["test"] < 0  # nats


def test_an_unknown_loss_is_named(
    tiny_config: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Would catch a loss that is looked up after training has begun."""
    assert main(["fit", str(tiny_config()), "--training.loss", "flow_machting"]) != 0
    assert "Did you mean flow_matching" in capsys.readouterr().err


def test_an_interrupted_run_goes_on(
    tiny_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would catch checkpoints or progress that are lost, or left behind once the run is done."""
    path = tiny_config()
    config = configs.load(path)
    monkeypatch.setattr(experiment, "Score", None)  # stops after training
    with pytest.raises(AttributeError):
        fit(config)
    monkeypatch.undo()
    assert [left.name for left in config.run_dir.parent.iterdir()] == ["tiny.running"]
    before = (config.progress_dir / run.PROGRESS).read_text()
    assert before.count("\n") == 3
    with pytest.raises(ValueError, match=r"was interrupted.*--resume.*--overwrite"):
        fit(config)
    assert main(["fit", str(path), "--resume"]) == 0
    assert [left.name for left in config.run_dir.parent.iterdir()] == ["tiny"]
    assert sorted(path.name for path in config.run_dir.iterdir()) == sorted(DEFAULT)
    assert (config.run_dir / run.PROGRESS).read_text() == before


def test_the_keyboard_ends_a_run_and_keeps_its_best_model(
    tiny_config: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Would catch Ctrl-C that throws the training away, or a run that cannot go on after it."""

    def stop(progress: fl.training.Progress) -> None:
        if progress.epoch == 1:
            raise KeyboardInterrupt

    def callbacks(experiment: experiment.Experiment) -> list:
        return [*written(experiment), stop]

    written = output.callbacks
    path = tiny_config()
    config = configs.load(path)
    with monkeypatch.context() as patched:
        patched.setattr(output, "callbacks", callbacks)
        assert main(["fit", str(path)]) == 130
    printed = capsys.readouterr()
    assert "interrupted after 2 epochs" in printed.out and "still improving" not in printed.out
    assert "Wrote" in printed.out and "--resume" in printed.err
    assert isinstance(run.read(config.run_dir).flow, fl.Flow)
    assert len(_lines(config.run_dir)) == 3
    assert main(["fit", str(path)]) == 2
    assert main(["fit", str(path), "--resume"]) == 0
    assert len(_lines(config.run_dir)) == 4
    assert not config.progress_dir.exists()


def test_an_interrupted_run_is_begun_anew(
    tiny_config: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Would catch epochs or pictures of the old run among those of the new one."""
    path = tiny_config()
    pictures = configs.load(path).progress_dir / run.PICTURES
    pictures.mkdir(parents=True)
    (pictures / "epoch_00009.png").write_text("old")
    assert main(["fit", str(path)]) == 2
    assert "was interrupted" in capsys.readouterr().err
    assert main(["fit", str(path), "--overwrite"]) == 0
    assert sorted(path.name for path in configs.load(path).run_dir.iterdir()) == sorted(DEFAULT)


def test_a_run_can_be_watched(
    tiny_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would catch what is only there at the end, an epoch without its picture, and old files."""
    path = tiny_config()
    config = configs.load(path)
    seen = []

    def watched(*arguments: object, callbacks: list, **options: object) -> fl.FitResult:
        def look(progress: fl.training.Progress) -> None:
            seen.append(sorted(path.name for path in config.progress_dir.iterdir()))
            seen.append((config.progress_dir / run.PROGRESS).read_text().count("\n"))

        return trained(*arguments, callbacks=[*callbacks, look], **options)

    trained = fl.fit
    monkeypatch.setattr(fl, "fit", watched)
    options = ["csv", "tensorboard", "pictures-every=2"]
    assert main(["fit", str(path), *(f"--training.{option}" for option in options)]) == 0
    first = ["checkpoints", run.TABLE, run.PROGRESS, run.BOARD]
    assert seen[:4] == [sorted(first), 1, sorted([*first, run.PICTURES]), 2]
    directory = config.run_dir
    assert sorted(path.name for path in directory.iterdir()) == sorted(run.FILES)
    (picture,) = (directory / run.PICTURES).iterdir()
    assert picture.name == "epoch_00002.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert (directory / run.TABLE).read_text().count("\n") == 4
    (events,) = (directory / run.BOARD).iterdir()
    assert events.read_bytes().count(b"gradient_norm") == 3
    assert main(["fit", str(path), "--overwrite"]) == 0
    assert sorted(path.name for path in directory.iterdir()) == sorted(DEFAULT)


def test_the_best_model_of_a_failed_run_is_written(
    tiny_config: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Would catch good parameters thrown away, or a failure that looks like a success."""

    def fails(*arguments: object, **options: object) -> fl.FitResult:
        raise fl.DivergedError("10 steps in a row", trained(*arguments, **options))

    trained = fl.fit
    monkeypatch.setattr(fl, "fit", fails)
    path = tiny_config()
    assert main(["fit", str(path)]) == 2
    printed = capsys.readouterr()
    assert "training failed after 3 epochs" in printed.out
    assert "error: 10 steps in a row" in printed.err
    assert isinstance(run.read(configs.load(path).run_dir).flow, fl.Flow)
