"""The arguments of a command, read from the signature and the docstring of its function.

Parameters before the `*` are positional, the others options; a flag is a bool. `**` receives
values of a config by their keys.
"""

import inspect
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable
from typing import Any

from flowjax_lite.cli import config as configs
from flowjax_lite.cli.config.options import REQUIRED, options_of

_GROUPS = {
    "": "the run",
    "data": "data",
    "flow": "flow; options left out have the defaults of the family",
    "training": "training",
}


def add_arguments(parser: ArgumentParser, command: Callable[..., Any]) -> None:
    """Add the parameters of a command to its parser.

    Args:
        parser: The parser.
        command: The function; the `Args` of its docstring are the help.
    """
    options = options_of(command)
    for name, parameter in inspect.signature(command).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            _add_keys(parser)
            continue
        option = options[name]
        needed, text = option.default is REQUIRED, option.help.replace("%", "%%")
        if parameter.kind is not parameter.KEYWORD_ONLY:
            count = "+" if option.is_list else None if needed else "?"
            parser.add_argument(name, nargs=count, metavar=name.upper(), help=text)
        elif option.kinds == (bool,):
            parser.add_argument(_flag(name), action="store_true", help=text)
        else:
            parser.add_argument(
                _flag(name),
                type=option.kinds[0],
                choices=option.choices or None,
                default=None if needed else option.default,
                required=needed,
                metavar=option.metavar,
                help=text,
            )


def _add_keys(parser: ArgumentParser) -> None:
    """Add every key of a config as an option, in a group for each section."""
    parser.usage = "%(prog)s CONFIG [option ...] [--KEY VALUE ...]"
    parser.epilog = "Options below the first group replace keys of the config."
    groups = {name: parser.add_argument_group(title) for name, title in _GROUPS.items()}
    for key, option in configs.all_options().items():
        is_flag = option.kinds == (bool,)  # which alone means true
        groups[key.rpartition(".")[0]].add_argument(
            _flag(key),
            dest=key,
            nargs="+" if option.is_list else "?" if is_flag else None,
            const=True if is_flag else None,
            type=option.read,
            default=SUPPRESS,
            metavar=option.metavar,
            help=option.help.replace("%", "%%"),
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
