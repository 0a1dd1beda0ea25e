"""The console command `flowjax-lite`."""

import argparse
import codecs
import io
import re
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from flowjax_lite.core.checks import suggest

PROGRAM = "flowjax-lite"
INSTALL = 'the command line needs its extra: pip install "flowjax-lite[cli]"'
# What the rooms below raise for input that they cannot take.
EXPECTED = (ValueError, TypeError, OSError, ImportError, FloatingPointError, MemoryError)
# What stands for characters that a terminal does not have.
_SPELLED = {"±": "+/-", "–": "-", "×": "x", "π": "pi"}
_SPELL_OUT = "flowjax_lite_spell_out"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments; those of the process by default.

    Returns:
        The exit status: 0, 2 for an error that the user can put right, 130 for an interruption.

    Raises:
        SystemExit: `--help` and `--version` (0), and arguments that do not parse (2).
    """
    codecs.register_error(_SPELL_OUT, _spell_out)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_SPELL_OUT)
    traceback = "--traceback" in (sys.argv if argv is None else argv)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.filterwarnings("always", "training was interrupted", RuntimeWarning)
        # What a warning says, without the place in our code that says it.
        warnings.showwarning = lambda message, *_, **__: print(
            f"{PROGRAM}: warning: {message}", file=sys.stderr
        )
        return _run(argv, traceback=traceback)


def _run(argv: Sequence[str] | None, *, traceback: bool) -> int:
    """Parse the arguments and call the command; errors that are expected become messages."""
    try:
        # Within, so that a missing extra is an error like others.
        given, rest = _parser().parse_known_args(argv)
        arguments = vars(given)
        command, parser = arguments.pop("command"), arguments.pop("parser")
        del arguments["traceback"]
        if rest:
            known = sorted(set(re.findall(r"--[a-z][\w.-]+", parser.format_help())))
            hint = suggest(rest[0].partition("=")[0], known)
            raise ValueError(f"unknown arguments: {' '.join(rest)}.{hint} See {parser.prog} --help")
        from flowjax_lite.cli.programs import keep_programs
        from flowjax_lite.core.extra import import_extra

        keep_programs()
        import_extra("matplotlib.figure", "cli")  # not for --help, nor late, at the end of a run
        command(**arguments)
    except EXPECTED as error:
        if traceback:
            raise
        fix = f"; {INSTALL}" if isinstance(error, ModuleNotFoundError) else ""
        print(f"{PROGRAM}: error: {error}{fix}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"\n{PROGRAM}: interrupted; only results said to be written are; a `fit` goes on from "
            "its last checkpoint with --resume",
            file=sys.stderr,
        )
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{PROGRAM}: error: {message}; see {self.prog} --help\n")


def _parser() -> _Parser:
    """Return the parser of the whole command line, with a parser of each command."""
    from flowjax_lite import __version__
    from flowjax_lite.cli.arguments import add_arguments
    from flowjax_lite.cli.commands import COMMANDS

    parser = _Parser(
        prog=PROGRAM,
        description="Train normalizing flows, ask them for densities and samples, compare them.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error arose, for bug reports"
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        text = (command.__doc__ or "").partition("\n")[0]
        subparser = subparsers.add_parser(name, help=text, description=text, allow_abbrev=False)
        subparser.set_defaults(command=command, parser=subparser)
        add_arguments(subparser, command)
    return parser


def _spell_out(error: UnicodeError) -> tuple[str, int]:
    """Return what a terminal shows in place of characters that it does not have."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(_SPELLED.get(character, "?") for character in text), error.end


if __name__ == "__main__":
    sys.exit(main())
