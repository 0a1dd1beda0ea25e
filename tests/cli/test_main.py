import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import flowjax_lite as fl
from flowjax_lite.cli import commands
from flowjax_lite.cli import config as configs
from flowjax_lite.cli.config.options import options_of
from flowjax_lite.cli.main import main


def _exit(arguments: list[str]) -> int:
    """The status of a command, whether it is returned or raised by argparse."""
    try:
        return main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Would catch a command that is not listed, and a version of another package."""
    assert _exit(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n    {command} " in printed for command in commands.COMMANDS)
    assert _exit(["--version"]) == 0
    assert capsys.readouterr().out == f"flowjax-lite {fl.__version__}\n"
    assert _exit(["fit", "--help"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for key, option in configs.all_options().items():
        assert f"--{key.replace('_', '-')} " in printed
        assert option.meaning in printed
    assert "--training.patience INT stop after this many epochs without a lower value" in printed
    assert "One of cosine, linear, exponential, constant. Default: cosine." in printed
    for name, command in commands.COMMANDS.items():
        assert _exit([name, "--help"]) == 0
        printed = " ".join(capsys.readouterr().out.split())
        for option in options_of(command).values():
            assert option.meaning, f"{name} does not say what {option.name} means"
            assert option.meaning in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["fti"], "'fti'"),
        (["fit"], "CONFIG"),
        (["fit", "none.yaml"], "none.yaml: no such file"),
        (["evaluate", "."], "is not a run directory"),
        (["evaluate", ".", "--date", "x"], "unknown arguments: --date x. Did you mean --data?"),
        (["list", "mav"], "Did you mean maf"),
        (["init", "none.csv"], "none.csv"),
        (["init", "iris", "--family", "mav"], "Did you mean maf"),
        (["sample", ".", "--num", "x", "--out", "s.npy"], "--num"),
        (["compare"], "ENTRIES"),
        (["compare", "."], "is not a run directory"),
        (["compare", "none.yaml"], "none.yaml: no such file"),
    ],
)
def test_mistakes_end_in_one_line_and_status_two(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    """Would catch a traceback, a status of zero, and a usage text that drowns the message."""
    monkeypatch.chdir(tmp_path)
    assert _exit(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("flowjax-lite: error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--training.lerning-rate 1e-4", "Did you mean --training.learning-rate"),
        ("--training.learning-rate fast", "training.learning_rate: expected a number, got 'fast'"),
        ("--training.batch-size 010", "--training.batch-size: 010 has a leading zero: write 10"),
        ("--name", "--name"),
        ("stray", "stray"),
    ],
)
def test_wrong_overrides_stop_the_fit(
    tiny_config: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    message: str,
) -> None:
    """Would catch a mistyped option that trains with the default instead."""
    assert _exit(["fit", str(tiny_config()), *arguments.split()]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert not (tmp_path / "runs").exists()


def test_tracebacks_on_request() -> None:
    """Would catch a bug that nobody can report because its place is hidden."""
    with pytest.raises(ValueError, match="no such file"):
        main(["--traceback", "fit", "none.yaml"])


def test_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch every exception turned into a message, which would hide our own mistakes."""

    def broken(run: str) -> None:
        raise AttributeError

    monkeypatch.setitem(commands.COMMANDS, "evaluate", broken)
    with pytest.raises(AttributeError):
        main(["evaluate", "x"])


def test_a_missing_extra_and_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Would catch a missing package that is not named with its extra, and Ctrl-C as a traceback."""

    def raises(error: BaseException):
        def command(run: str) -> None:
            raise error

        monkeypatch.setitem(commands.COMMANDS, "evaluate", command)
        return main(["evaluate", "x"])

    assert raises(ModuleNotFoundError("No module named 'yaml'")) == 2
    assert 'pip install "flowjax-lite[cli]"' in capsys.readouterr().err
    assert raises(KeyboardInterrupt()) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_terminal_without_unicode(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Would catch a result that is lost because the terminal has no ±."""
    out = tmp_path / "out.txt"
    with out.open("w", encoding="ascii") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert main(["evaluate", str(tiny_run)]) == 0
    assert " +/- 0." in out.read_text()


def test_python_m_runs_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Would catch a module that does nothing when it is run, as in a checkout."""
    monkeypatch.setattr(sys, "argv", ["flowjax-lite", "--version"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("flowjax_lite", run_name="__main__")
    assert fl.__version__ in capsys.readouterr().out
