"""The commands: plain functions, whose signatures and docstrings are the command line."""

from collections.abc import Callable
from typing import Any

from flowjax_lite.cli.commands.ask import diagnose, evaluate, sample
from flowjax_lite.cli.commands.catalogue import catalogue
from flowjax_lite.cli.commands.compare import compare
from flowjax_lite.cli.commands.fit import fit
from flowjax_lite.cli.commands.init import init

COMMANDS: dict[str, Callable[..., Any]] = {
    "fit": fit,
    "evaluate": evaluate,
    "diagnose": diagnose,
    "sample": sample,
    "compare": compare,
    "list": catalogue,
    "init": init,
}
