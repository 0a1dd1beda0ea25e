"""The arguments of a command, read from the signature and the docstring of its function.

Parameters before the `*` are positional, the others options; a flag is a bool. `**` receives keys
of a config, as words that the config reads itself.
"""

import inspect
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable
from typing import Any

from flowjax_lite.cli import config as configs
from flowjax_lite.cli.config.options import REQUIRED, Option, options_of

_GROUPS = {
    "": "the run",
    "data": "data",
    "flow": "flow; options left out have the defaults of the family",
    "training": "training",
}


def purpose(command: Callable[..., Any]) -> str:
    """Return the first line of a command's docstring."""
    return (inspect.getdoc(command) or "").partition("\n")[0]


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
        settings: dict[str, Any] = {"help": _help(option)}
        if option.is_list:
            settings["nargs"] = "+"
        if option.kinds == (bool,):
            settings["action"] = "store_true"
        else:
            settings |= {
                "type": option.item,
                "choices": option.choices,
                "metavar": _metavar(option),
            }
        if parameter.kind is parameter.KEYWORD_ONLY:
            required = option.default is REQUIRED
            settings |= {"required": True} if required else {"default": option.default}
            parser.add_argument(f"--{name.replace('_', '-')}", **settings)
        else:
            optional = {} if option.default is REQUIRED else {"nargs": "?"}
            parser.add_argument(name, **settings | {"metavar": name.upper()} | optional)


def _add_keys(parser: ArgumentParser) -> None:
    """Add every key of a config as an option, in a group for each section."""
    parser.usage = "%(prog)s CONFIG [option ...] [--KEY VALUE ...]"
    parser.epilog = "Options below the first group replace keys of the config."
    groups = {name: parser.add_argument_group(title) for name, title in _GROUPS.items()}
    for key, option in configs.all_options().items():
        settings: dict[str, Any] = {"nargs": "+" if option.is_list else 1}
        if option.kinds == (bool,):
            settings = {"nargs": "*"}  # the bare option means true
        groups[key.rpartition(".")[0]].add_argument(
            f"--{key.replace('_', '-')}",
            dest=key,
            default=SUPPRESS,
            metavar=_metavar(option),
            help=_help(option),
            **settings,
        )


def _metavar(option: Option) -> str:
    words = {int: "INT", float: "FLOAT", bool: "BOOL"}
    return "CHOICE" if option.choices else words.get(option.item, "TEXT")


def _help(option: Option) -> str:
    """Return the meaning of an option, its choices and its default."""
    words = [option.meaning]
    if option.choices:
        words.append(f"One of {', '.join(option.choices)}.")
    default = option.default
    if default is not REQUIRED and default is not None and default is not False:
        text = " ".join(map(str, default)) if isinstance(default, tuple) else default
        words.append(f"Default: {text}.")
    return " ".join(words).replace("%", "%%")
