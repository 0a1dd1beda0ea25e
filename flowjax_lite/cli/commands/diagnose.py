"""`flowjax-lite diagnose`: what cannot be trusted of the numbers of a run's flow."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import flowjax_lite as fl
from flowjax_lite.cli.errors import CommandError
from flowjax_lite.cli.report.rows import head
from flowjax_lite.cli.run import source as of_run
from flowjax_lite.diagnostics import Diagnosis

PURPOSE = "say what cannot be trusted of a run's flow"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    of_run.add_arguments(parser)
    parser.add_argument("--num", type=int, default=1000, help="rows looked at; default: 1000")


def run(arguments: Namespace) -> Diagnosis:
    """Run the command."""
    return diagnose(arguments.run, source=arguments.data, num=arguments.num)


def diagnose(directory: str | Path, *, source: str | None = None, num: int = 1000) -> Diagnosis:
    """Print what cannot be trusted of the numbers of a run's flow.

    Args:
        directory: The run directory.
        source: As for `evaluate`.
        num: The most rows that are looked at, from the first on.

    Returns:
        What was printed.

    Raises:
        ValueError: The run or the data do not fit.
    """
    if num < 1:
        raise CommandError(f"--num is {num}; expected at least 1")
    flow, data = of_run.rows_of_a_run(directory, source)
    looked_at = head(data.test, num)
    diagnosis = fl.diagnose(flow, looked_at.x, looked_at.condition)
    print(f"{data.name}\n{diagnosis}")
    return diagnosis
