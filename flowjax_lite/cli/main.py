"""The console command `flowjax-lite`."""

import argparse
import codecs
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from flowjax_lite.cli.errors import CommandError

PROGRAM = "flowjax-lite"
INSTALL = 'the command line needs its extra: pip install "flowjax-lite[cli]"'
# What the rooms below raise for input that they cannot take.
EXPECTED = (ValueError, TypeError, OSError, ImportError, FloatingPointError, MemoryError)


# How a terminal without these characters is told them.
_SPELLED = {"±": "+/-", "–": "-", "×": "x", "π": "pi"}
SPELL_OUT = "flowjax_lite_spell_out"


def _spell_out(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(_SPELLED.get(character, "?") for character in text), error.end


codecs.register_error(SPELL_OUT, _spell_out)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments; those of the process by default.

    Returns:
        The exit status: 0, 2 for an error that the user can put right, 130 for an interruption.

    Raises:
        SystemExit: `--help` and `--version` (0), and arguments that do not parse (2).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SPELL_OUT)
    traceback = "--traceback" in (sys.argv if argv is None else argv)
    try:
        arguments, rest = _parser().parse_known_args(argv)
        if rest and arguments.command != "fit":
            raise CommandError(f"unknown arguments: {' '.join(rest)}; see {PROGRAM} --help")
        COMMANDS[arguments.command](arguments, rest)
    except EXPECTED as error:
        if traceback:
            raise
        fix = f"; {INSTALL}" if isinstance(error, ModuleNotFoundError) else ""
        print(f"{PROGRAM}: error: {error}{fix}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"\n{PROGRAM}: interrupted; unfinished results were not written; a `fit` goes on from "
            "its last checkpoint with --resume",
            file=sys.stderr,
        )
        return 130
    return 0


# The commands import their modules when they run, so that a missing extra is an error like others.


def _fit(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    import flowjax_lite as fl
    from flowjax_lite.cli import config_file as configs
    from flowjax_lite.cli.fit import fit

    config = configs.override(configs.load(arguments.config), rest)
    several = _join_processes(arguments)
    mesh = fl.all_devices() if several or arguments.devices else None
    fit(config, overwrite=arguments.overwrite, resume=arguments.resume, mesh=mesh)


def _join_processes(arguments: argparse.Namespace) -> bool:
    """Join the processes of a run, if it has several, before JAX is used."""
    values = {
        "--coordinator": arguments.coordinator,
        "--num-processes": arguments.num_processes,
        "--process-id": arguments.process_id,
    }
    missing = [name for name, value in values.items() if value is None]
    if len(missing) == len(values):
        return False
    if missing:
        raise CommandError(
            f"a run of several processes needs {', '.join(values)} in each of them; "
            f"{missing[0]} is missing"
        )
    if not 0 <= arguments.process_id < arguments.num_processes:
        raise CommandError(
            f"--process-id is {arguments.process_id}; expected a number from 0 to "
            f"{arguments.num_processes - 1}, another one in each of the {arguments.num_processes} "
            "processes"
        )
    import jax

    jax.distributed.initialize(*values.values())
    return True


def _evaluate(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    from flowjax_lite.cli.evaluate import evaluate

    evaluate(arguments.run, source=arguments.data, out=arguments.out, overwrite=arguments.overwrite)


def _diagnose(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    from flowjax_lite.cli.evaluate import diagnose

    diagnose(arguments.run, source=arguments.data, num=arguments.num)


def _sample(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    from flowjax_lite.cli.sample import sample

    sample(
        arguments.run,
        num=arguments.num,
        out=arguments.out,
        condition=arguments.condition,
        seed=arguments.seed,
        overwrite=arguments.overwrite,
    )


def _compare(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    from flowjax_lite.cli import config_file as configs
    from flowjax_lite.cli import run
    from flowjax_lite.cli.compare import compare

    compare(
        [
            run.read_trained(path) if path.is_dir() else configs.load(path)
            for path in arguments.entries
        ],
        out=arguments.out,
        overwrite=arguments.overwrite,
    )


COMMANDS: dict[str, Callable[[argparse.Namespace, Sequence[str]], None]] = {
    "fit": _fit,
    "evaluate": _evaluate,
    "diagnose": _diagnose,
    "sample": _sample,
    "compare": _compare,
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{PROGRAM}: error: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    from flowjax_lite import __version__
    from flowjax_lite.cli import config_file as configs

    parser = _Parser(
        prog=PROGRAM,
        description="Train normalizing flows, ask them for densities and samples, compare them.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error arose, for bug reports"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    fit = _command(commands, "fit", "train the flow of a config and write a run directory")
    fit.add_argument(
        "config",
        metavar="CONFIG",
        help="a YAML file, or an example that the package brings, such as digits_maf",
    )
    fit.add_argument(
        "--resume", action="store_true", help="go on with a run that was interrupted, if any"
    )
    fit.add_argument("--devices", choices=["all"], help="share each batch among all devices")
    fit.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="an address of the first of several processes, each started by this command, which "
        "share each batch among all their devices",
    )
    fit.add_argument("--num-processes", type=int, metavar="N", help="how many there are")
    fit.add_argument("--process-id", type=int, metavar="I", help="which one this is, from 0")
    fit.usage = f"{PROGRAM} fit [-h] [--overwrite] [--resume] [...] CONFIG [--key value ...]"
    fit.epilog = "keys of a config, each also an option:\n  " + "\n  ".join(configs.keys())

    evaluate = _command(commands, "evaluate", "print the log-likelihood of data under a run's flow")
    evaluate.add_argument("run", metavar="RUN", help="a run directory")
    evaluate.add_argument(
        "--data", metavar="SOURCE", help="a named set or a file; default: the run's test split"
    )
    evaluate.add_argument(
        "--out", type=Path, metavar="FILE", help=".npy or .csv for one log-likelihood per row"
    )

    diagnose = _command(
        commands, "diagnose", "say what cannot be trusted of a run's flow", overwrites=False
    )
    diagnose.add_argument("run", metavar="RUN", help="a run directory")
    diagnose.add_argument(
        "--data", metavar="SOURCE", help="a named set or a file; default: the run's test split"
    )
    diagnose.add_argument("--num", type=int, default=1000, help="rows looked at; default: 1000")

    sample = _command(commands, "sample", "draw from a run's flow")
    sample.add_argument("run", metavar="RUN", help="a run directory")
    sample.add_argument("--num", type=int, required=True, help="samples, for each condition if any")
    sample.add_argument("--out", type=Path, required=True, metavar="FILE", help=".npy or .csv")
    sample.add_argument("--condition", type=Path, metavar="FILE", help="conditions, one per row")
    sample.add_argument("--seed", type=int, default=0)

    compare = _command(commands, "compare", "compare flows on the same data")
    compare.add_argument(
        "entries",
        metavar="CONFIG_OR_RUN",
        nargs="+",
        type=Path,
        help="a YAML file, whose flow is trained, or a run directory, whose flow was",
    )
    compare.add_argument(
        "--out",
        default="runs/compare",
        metavar="DIR",
        help="the directory to write; default: %(default)s",
    )
    return parser


def _command(
    commands: Any, name: str, purpose: str, *, overwrites: bool = True
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=purpose,
        description=purpose[0].upper() + purpose[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if overwrites:
        command.add_argument("--overwrite", action="store_true", help="replace an earlier result")
    return command


if __name__ == "__main__":
    sys.exit(main())
