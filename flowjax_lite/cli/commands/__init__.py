"""The commands: each has a purpose, adds its arguments to a parser, and runs."""

from argparse import ArgumentParser, Namespace
from typing import Protocol, cast

from flowjax_lite.cli.commands import catalogue, compare, diagnose, evaluate, fit, init, sample


class Command(Protocol):
    """What the module of a command holds."""

    PURPOSE: str

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments of the command."""

    def run(self, arguments: Namespace) -> object:
        """Run the command."""


COMMANDS: dict[str, Command] = {
    "fit": cast(Command, fit),
    "evaluate": cast(Command, evaluate),
    "diagnose": cast(Command, diagnose),
    "sample": cast(Command, sample),
    "compare": cast(Command, compare),
    "list": cast(Command, catalogue),
    "init": cast(Command, init),
}
